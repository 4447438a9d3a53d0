//! The pure half from outside, promise by promise. One program: each further one links the whole server.

mod accounts;
mod deadlines;
mod interest;
mod lanes;
mod leaving;
mod overload;
mod requests;
mod runs;
mod table;
mod turns;
mod wide;
mod work;
