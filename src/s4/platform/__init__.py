"""The outside world: database, object store, job queue, telemetry, HTTP, secrets. Knows nothing of the business."""
