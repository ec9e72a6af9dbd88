//! What is no image of ours, or says two things at once: an error, and never `equal`.
