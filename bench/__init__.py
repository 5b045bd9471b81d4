"""The load generator and the benchmarks: what the platform costs and how fast it is, measured from outside."""
