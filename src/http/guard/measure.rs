//! Sizes and costs, and how they add up through fields and fragments.

use super::Limits;

/// Points of a field with fields inside; a value in it costs one point, and ten points are a cost of 1.
pub(super) const RECORD: usize = 10;

/// The size of a selection set, fragments inlined. Additions saturate: a bomb has more than 2^64 nodes.
#[derive(Clone, Copy, Default)]
pub(super) struct Measure {
    pub(super) levels: usize,
    pub(super) depth: usize,
    pub(super) nodes: usize,
    // Points of the rows of a connection, which its page size multiplies, and of all the rest.
    rows: usize,
    rest: usize,
    pub(super) introspection_lists: usize,
}

impl Measure {
    pub(super) fn cost(self) -> usize {
        self.rows.saturating_add(self.rest).div_ceil(RECORD)
    }

    pub(super) fn beside(self, other: Measure) -> Measure {
        Measure {
            levels: self.levels.max(other.levels),
            depth: self.depth.max(other.depth),
            nodes: self.nodes.saturating_add(other.nodes),
            rows: self.rows.saturating_add(other.rows),
            rest: self.rest.saturating_add(other.rest),
            introspection_lists: self.introspection_lists.max(other.introspection_lists),
        }
    }

    pub(super) fn inside_fragment(self) -> Measure {
        Measure {
            levels: self.levels + 1,
            nodes: self.nodes.saturating_add(1),
            ..self
        }
    }

    pub(super) fn inside_field(self, field: &str, page: Option<usize>, limits: &Limits) -> Measure {
        let children = match (self.rows, page) {
            (0, Some(size)) => self.rest.saturating_mul(size),
            (rows, page) => rows
                .saturating_mul(page.unwrap_or(limits.page_default))
                .saturating_add(self.rest),
        };
        let points = if self.nodes == 0 {
            1
        } else {
            children.saturating_add(RECORD)
        };
        let (rows, rest) = if matches!(field, "edges" | "nodes") {
            (points, 0)
        } else {
            (0, points)
        };
        let is_list = matches!(
            field,
            "types" | "fields" | "inputFields" | "interfaces" | "possibleTypes"
        );
        Measure {
            levels: self.levels + 1,
            depth: self.depth + 1,
            nodes: self.nodes.saturating_add(1),
            rows,
            rest,
            introspection_lists: self.introspection_lists + usize::from(is_list),
        }
    }
}
