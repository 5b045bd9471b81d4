"""The saga engine: a definition that reads like the process, and a pure function that decides."""
