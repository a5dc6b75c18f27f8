//! What a user is told.
