"""All SQL on what is searchable: `tables`, and `uses` of generations."""
