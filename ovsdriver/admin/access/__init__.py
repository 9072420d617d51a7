"""Access rules as people see them: named sets, and what rules of containers have met."""
