"""All SQL of exports, erasures and of the retention of what is S4's own."""
