"""Whatever a user passes -> batches of tensors on the device."""
