"""All SQL on what is searchable: `tables`, `attaching` of those that lie in the bucket, `uses` of generations, what
`held` tenants have of them, and the `sizes` of all."""
