"""The bodies of the API's responses. The server uses the same classes."""
