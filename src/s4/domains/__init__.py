"""The business, as a staircase: a domain may use those below it and never one above.

`usage < tenants < access < documents < indexing < search < maintenance`. A lower domain that wants something done
above changes its own rows and enqueues a job in the same transaction; the upper domain handles that kind of job.
Every domain has the same rooms: `models` (tables), `queries` (all SQL), `schemas` (HTTP shapes), `service` (use
cases), `routes` (HTTP), `jobs` (background work); those that it does not need are missing.
"""
