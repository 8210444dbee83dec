"""What the clouds' own validators let pass, and should not: rules about the files that are given to them."""
