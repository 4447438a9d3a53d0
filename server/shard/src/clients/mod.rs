//! The sending halves of a shard's clients: what each has sent that is unfinished, who it is, what it may.
//! The receiving halves are in `delivery`.

pub mod native;
pub mod nats;
pub mod sender;

use crate::bus::Bus;
use crate::closing::CloseReason;
use crate::event::Dialect;
use crate::identity::ConnectionId;
use crate::limits::Limits;
use crate::turn::Turn;
use native::NativeClient;
use nats::NatsClient;
use sender::Sender;

#[derive(Debug)]
pub enum Client {
    Native(Box<NativeClient>),
    Nats(Box<NatsClient>),
}

impl Client {
    pub fn sender(&self) -> &Sender {
        match self {
            Client::Native(client) => &client.sender,
            Client::Nats(client) => &client.sender,
        }
    }

    pub fn sender_mut(&mut self) -> &mut Sender {
        match self {
            Client::Native(client) => &mut client.sender,
            Client::Nats(client) => &mut client.sender,
        }
    }

    pub fn id(&self) -> ConnectionId {
        self.sender().id
    }

    /// Memory it takes, both halves of it, that says nothing and is sent nothing.
    pub fn own_bytes(&self) -> usize {
        match self {
            Client::Native(client) => client.own_bytes(),
            Client::Nats(client) => client.own_bytes(),
        }
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Client::Native(_) => Dialect::Native,
            Client::Nats(_) => Dialect::Nats,
        }
    }

    /// Ends the connection in order: what is queued, its dialect's words for why, then the end.
    pub fn close(&mut self, reason: CloseReason, bus: &mut Bus, turn: &mut Turn<'_>) {
        match self {
            Client::Native(client) => client.close(reason, reason.native().1, bus, turn),
            Client::Nats(client) => client.close(reason, reason.nats(), bus, turn),
        }
    }

    pub fn change_limits(&mut self, limits: &Limits) {
        match self {
            Client::Native(client) => client.change_limits(limits),
            Client::Nats(client) => client.change_limits(limits),
        }
    }

    /// Handles what the client said, as far as the turn goes. Returns how many bytes of its end are left.
    #[inline(never)]
    pub fn receive(&mut self, input: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) -> usize {
        match self {
            Client::Native(client) => client.receive(input, bus, turn),
            Client::Nats(client) => client.receive(input, bus, turn),
        }
    }

    /// Asks whether the client is alive.
    pub fn ping(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        debug_assert!(self.sender().pings_outstanding < u8::MAX, "pings are bounded");
        self.sender_mut().pings_outstanding += 1;
        match self {
            Client::Native(client) => client.ping(bus, turn),
            Client::Nats(client) => client.ping(bus, turn),
        }
    }

    /// Gives back what it holds of the bus, and what it has sent so far of something unfinished.
    pub fn let_go(&mut self, bus: &mut Bus) {
        let partial = self.sender_mut().take_partial(bus);
        bus.outlets.delivery.pool.give(partial);
        if let Client::Native(client) = self {
            client.unpin_subjects(bus);
        }
    }
}

/// By slot.
#[derive(Debug, Default)]
pub struct Clients {
    slots: Vec<Option<Client>>,
}

impl Clients {
    pub fn insert(&mut self, client: Client) {
        let slot = client.id().slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "the edge re-used a slot before it reported the close");
        self.slots[slot] = Some(client);
    }

    pub fn remove(&mut self, id: ConnectionId) -> Option<Client> {
        self.slots.get_mut(id.slot as usize)?.take_if(|client| client.id() == id)
    }

    pub fn get(&self, id: ConnectionId) -> Option<&Client> {
        self.slots.get(id.slot as usize)?.as_ref().filter(|client| client.id() == id)
    }

    #[inline]
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Client> {
        self.slots.get_mut(id.slot as usize)?.as_mut().filter(|client| client.id() == id)
    }

    /// In the order of their slots.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.iter().map(Client::id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().flatten()
    }
}
