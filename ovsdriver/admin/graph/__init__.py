"""What is connected to what: collected (``report``), placed (``layout``), drawn and written."""
