"""Before any test imports torch: threads as the commands set them."""

from dspt.cpus import set_thread_defaults

set_thread_defaults()
