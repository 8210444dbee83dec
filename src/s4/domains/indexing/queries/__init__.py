"""All SQL on what is searchable: `tables`, `attaching` of those that lie in the bucket, and `uses` of generations."""
