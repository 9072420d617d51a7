"""Bytes between us and a server: where it is, frames, requests and answers, and who leads."""
