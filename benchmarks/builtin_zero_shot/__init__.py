"""Zero-shot accuracy of the built-in backbone, with the prompt "a photo of a {class}."."""
