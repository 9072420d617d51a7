"""``ovsnet test``: is this installation good? Containers are played, and talk in every way."""
