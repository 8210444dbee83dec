"""The door: what every request passes before a domain sees it, and every answer before a caller does.

`middleware` gives each request an id, its headers, its log line and its metrics. `routing` lets a route
declare its permission and authenticates before the body is read. `body` and `multipart` stream uploads in
constant memory, `ranges`, `preconditions` and `downloads` speak HTTP's own vocabulary, `errors` turns
exceptions into answers.
"""
