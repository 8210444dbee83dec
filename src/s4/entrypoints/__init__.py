"""The processes: API, worker, command line; and `bootstrap`, which reads the environment and wires everything."""
