"""The stories of a service request, and the demo that plays them."""
