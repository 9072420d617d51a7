"""What an operator looks at: status, traces, plans, events, metrics, the page, a support file."""
