"""What all may use; imports nothing of ours."""
