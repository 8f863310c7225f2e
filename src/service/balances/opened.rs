//! What was open on one day, client by client: a list of clients reads it in order, and a row reads its client alone.

use super::span::{Day, Span};

/// The spans of a state that count on a day.
#[derive(Debug)]
pub struct Opened {
    on: Day,
    /// Where the spans of each client begin, and where the last ones end.
    starts: Vec<usize>,
    spans: Vec<Span>,
}

impl Opened {
    /// Gathers the spans of `clients` clients that are open on a day; the order of a client's own is kept.
    pub fn of<'a>(on: Day, clients: usize, open: impl Iterator<Item = &'a Span> + Clone) -> Opened {
        let mut starts = vec![0; clients + 1];
        for span in open.clone() {
            starts[span.at.client as usize + 1] += 1;
        }
        for client in 0..clients {
            starts[client + 1] += starts[client];
        }
        let mut next = starts.clone();
        let mut spans: Vec<Option<Span>> = vec![None; starts[clients]];
        for span in open {
            let place = &mut next[span.at.client as usize];
            spans[*place] = Some(*span);
            *place += 1;
        }
        Opened {
            on,
            starts,
            spans: spans.into_iter().flatten().collect(),
        }
    }

    /// The day.
    pub fn on(&self) -> Day {
        self.on
    }

    /// The spans of all clients, one client after another.
    pub fn all(&self) -> &[Span] {
        &self.spans
    }

    /// The spans of a client; of one that the state does not know, none.
    pub fn of_client(&self, client: u32) -> &[Span] {
        let client = client as usize;
        match (self.starts.get(client), self.starts.get(client + 1)) {
            (Some(from), Some(to)) => &self.spans[*from..*to],
            _ => &[],
        }
    }

    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.starts.capacity() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::{At, NEVER};
    use super::*;

    #[test]
    fn spans_stand_with_their_clients() {
        let span = |client, amount| Span {
            amount,
            at: At {
                client,
                kind: 0,
                age: 0,
                invoiced: 0,
            },
            from: 0,
            to: NEVER,
        };
        let spans = [span(2, 1), span(0, 2), span(2, 3), span(0, 4)];
        let opened = Opened::of(7, 3, spans.iter());
        let amounts = |client| -> Vec<i64> {
            let own = opened.of_client(client).iter();
            own.map(|span| span.amount).collect()
        };
        assert_eq!(amounts(0), [2, 4]);
        assert_eq!(amounts(1), [0_i64; 0]);
        assert_eq!(amounts(2), [1, 3]);
        assert_eq!(amounts(3), [0_i64; 0]);
        let all: Vec<i64> = opened.all().iter().map(|span| span.amount).collect();
        assert_eq!(all, [2, 4, 1, 3]);
    }
}
