"""Why packets do or do not pass: trace, capture, firewalld. They look at the host, too."""
