"""The HTTP layer that all features share: rules of routes, middleware, errors, paging."""
