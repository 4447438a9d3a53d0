//! What clients may bring in, and what nothing they say can do: to the server, and to each other.

mod acknowledgements;
mod admission;
mod answers;
mod endings;
mod hand_over;
mod memory;
mod numbers;
mod play;
mod promises;
mod replies;
mod rights;
mod server_headers;
mod server_subjects;
mod subscriptions;
mod texts;
