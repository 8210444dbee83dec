"""The outside world: database, object store, job queue, telemetry, HTTP, secrets. Knows nothing of tenants' business."""
