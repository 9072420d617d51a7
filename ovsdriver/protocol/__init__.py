"""The Docker shore: JSON on unix sockets to domain values and back."""
