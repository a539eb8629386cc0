//! Everything that is going to happen, in the order in which it will.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::faults::Undo;
use crate::world::Event;

/// When, in which order among what happens at that time, and where the event is. Events themselves are large, and a heap
/// moves what is in it all the time.
type Entry = (u64, u64, usize);

/// The events to come.
#[derive(Debug, Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
}

impl Agenda {
    /// Adds an event behind all others of that time, microseconds.
    pub fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.heap.push(Reverse((at, self.order, place)));
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next event out, and says when it happens.
    pub fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        Some((at, self.take(place)))
    }

    fn take(&mut self, place: usize) -> Event {
        self.free.push(place);
        self.events[place].take().expect("every entry has an event")
    }

    /// All events, in no order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().flatten()
    }

    /// Takes the ends of all faults under way, in order of time.
    pub fn take_undos(&mut self) -> Vec<Undo> {
        let entries = std::mem::take(&mut self.heap).into_sorted_vec();
        let is_undo = |Reverse((.., place)): &Reverse<Entry>| matches!(self.events[*place], Some(Event::Undo(_)));
        let (undos, rest): (Vec<_>, Vec<_>) = entries.into_iter().rev().partition(is_undo);
        self.heap = rest.into();
        let events = undos.into_iter().map(|Reverse((.., place))| self.take(place));
        events.filter_map(|event| if let Event::Undo(undo) = event { Some(undo) } else { None }).collect()
    }
}
