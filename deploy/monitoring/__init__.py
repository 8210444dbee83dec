"""What is watched of S4, from one definition: alerts, recording rules, dashboards, and the files that carry them.

`alerts` says for each alert its expression for Prometheus, its condition in CloudWatch and in Google Cloud where these
have one, its page of `docs/runbooks`, and what makes it fire. `records` names what is computed once and read often,
`dashboards` what is shown. `generate` writes the files beside it for Prometheus, Alertmanager and Grafana:
`make monitoring`. Nothing here runs in production, and nothing in `src` knows of it.
"""
