"""Every command, event and refusal that crosses a topic, one module per service that owns it."""
