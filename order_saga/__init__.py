"""The orchestrator: drives every order through its saga."""
