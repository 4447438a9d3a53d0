//! Answers requests with what they bring.

use super::requester::inbox;
use crate::dialect::Dialect;
use crate::dialect::raw::Hello;
use crate::engine::names::Names;
use crate::workload::GROUP;

#[derive(Debug)]
pub struct Responder {
    subjects: Vec<u32>,
}

impl Responder {
    pub fn new(subjects: Vec<u32>) -> Responder {
        Responder { subjects }
    }

    pub fn hello(&self) -> Hello {
        Hello { takes: self.subjects[0] + 1, gives: inbox(self.subjects[0]) }
    }

    pub fn greet(&self, dialect: Dialect, names: &Names, out: &mut Vec<u8>) {
        for &subject in &self.subjects {
            dialect.subscribe(subject + 1, &names.subjects[subject as usize], Some(GROUP), out);
        }
    }
}
