"""The page in the browser: a server that asks the running process, and files that are served."""
