//! Which bytes of a connection are payload or secret, while they pass in any portions.

use super::native::NativeFilter;
use super::nats::{AnswerFilter, OperationFilter};
use super::secrets::Secrets;
use super::span::Span;
use ringbolt_shard::Dialect;

/// One direction of a connection.
#[derive(Debug)]
pub enum Filter {
    /// Either direction: the frames are alike.
    Native(NativeFilter),
    Operations(OperationFilter),
    Answers(AnswerFilter),
}

impl Filter {
    pub fn of_client(dialect: Dialect) -> Filter {
        match dialect {
            Dialect::Native => Filter::Native(NativeFilter::default()),
            Dialect::Nats => Filter::Operations(OperationFilter::default()),
        }
    }

    pub fn of_server(dialect: Dialect) -> Filter {
        match dialect {
            Dialect::Native => Filter::Native(NativeFilter::default()),
            Dialect::Nats => Filter::Answers(AnswerFilter::default()),
        }
    }

    /// Appends the spans that `chunk` consists of; it follows what was cut before.
    pub fn cut(&mut self, chunk: &[u8], secrets: &Secrets, spans: &mut Vec<Span>) {
        match self {
            Filter::Native(filter) => filter.cut(chunk, spans),
            Filter::Operations(filter) => filter.cut(chunk, secrets, spans),
            Filter::Answers(filter) => filter.cut(chunk, spans),
        }
    }
}
