"""What is done to a store from outside: check, back up, restore, export, import."""
