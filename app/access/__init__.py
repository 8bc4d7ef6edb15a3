"""Who may do what: API keys, their owners and scopes, and how often they may ask."""
