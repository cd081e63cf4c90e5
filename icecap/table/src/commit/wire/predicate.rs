//! A conflict filter on the wire: the tree of a predicate, literals in Iceberg's binary single-value serialisation.
//!
//! A chain of one connective is one node, so that depth is that of brackets only.

use iceberg::expr::{
    BinaryExpression, Predicate, PredicateOperator, Reference, SetExpression, UnaryExpression,
};
use iceberg::spec::{Datum, PrimitiveType, Type};

use crate::error::{Error, Result};
use crate::snapshot::datum_of_bytes;

/// How deep a predicate may nest. The decoder's own limit, in messages, is 100.
const MAX_DEPTH: usize = 32;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PredicateMessage {
    #[prost(oneof = "Node", tags = "1, 2, 3, 4, 5")]
    node: Option<Node>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Node {
    #[prost(bool, tag = "1")]
    Constant(bool),
    #[prost(message, tag = "2")]
    And(Parts),
    #[prost(message, tag = "3")]
    Or(Parts),
    #[prost(message, tag = "4")]
    Not(Box<PredicateMessage>),
    #[prost(message, tag = "5")]
    Test(Test),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Parts {
    #[prost(message, repeated, tag = "1")]
    parts: Vec<PredicateMessage>,
}

/// A test of one column.
#[derive(Clone, PartialEq, prost::Message)]
struct Test {
    /// The kernel's number of the operator; [`OPERATORS`] freezes them.
    #[prost(uint32, tag = "1")]
    operator: u32,
    #[prost(string, tag = "2")]
    column: String,
    #[prost(message, repeated, tag = "3")]
    literals: Vec<Literal>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Literal {
    /// As in a schema's JSON.
    #[prost(string, tag = "1")]
    ty: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

const OPERATORS: [(PredicateOperator, u32); 14] = [
    (PredicateOperator::IsNull, 101),
    (PredicateOperator::NotNull, 102),
    (PredicateOperator::IsNan, 103),
    (PredicateOperator::NotNan, 104),
    (PredicateOperator::LessThan, 201),
    (PredicateOperator::LessThanOrEq, 202),
    (PredicateOperator::GreaterThan, 203),
    (PredicateOperator::GreaterThanOrEq, 204),
    (PredicateOperator::Eq, 205),
    (PredicateOperator::NotEq, 206),
    (PredicateOperator::StartsWith, 207),
    (PredicateOperator::NotStartsWith, 208),
    (PredicateOperator::In, 301),
    (PredicateOperator::NotIn, 302),
];

impl PredicateMessage {
    /// `None` when the predicate is deeper than is read back, or holds what cannot be serialised.
    pub(super) fn of(predicate: &Predicate) -> Option<Self> {
        Self::at_depth(predicate, 0)
    }

    fn at_depth(predicate: &Predicate, depth: usize) -> Option<Self> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let node = match predicate {
            Predicate::AlwaysTrue => Node::Constant(true),
            Predicate::AlwaysFalse => Node::Constant(false),
            Predicate::And(_) => Node::And(Parts { parts: chain(predicate, true, depth)? }),
            Predicate::Or(_) => Node::Or(Parts { parts: chain(predicate, false, depth)? }),
            Predicate::Not(inner) => Node::Not(Box::new(Self::at_depth(inner.inputs()[0], depth + 1)?)),
            Predicate::Unary(test) => Node::Test(Test::of(test.op(), test.term(), std::iter::empty())?),
            Predicate::Binary(test) => {
                Node::Test(Test::of(test.op(), test.term(), std::iter::once(test.literal()))?)
            }
            Predicate::Set(test) => Node::Test(Test::of(test.op(), test.term(), test.literals().iter())?),
        };
        Some(Self { node: Some(node) })
    }

    /// # Errors
    /// `Corrupt` when the message is no predicate.
    pub(super) fn predicate(self) -> Result<Predicate> {
        self.read(0)
    }

    fn read(self, depth: usize) -> Result<Predicate> {
        if depth >= MAX_DEPTH {
            return Err(broken("it nests too deep"));
        }
        let read_all = |parts: Parts| {
            parts.parts.into_iter().map(|part| part.read(depth + 1)).collect::<Result<Vec<Predicate>>>()
        };
        Ok(match self.node.ok_or_else(|| broken("it has a node that this build does not know"))? {
            Node::Constant(true) => Predicate::AlwaysTrue,
            Node::Constant(false) => Predicate::AlwaysFalse,
            Node::And(parts) => read_all(parts)?.into_iter().fold(Predicate::AlwaysTrue, Predicate::and),
            Node::Or(parts) => read_all(parts)?.into_iter().fold(Predicate::AlwaysFalse, Predicate::or),
            // Negation is pushed to the leaves, which have an operator for it.
            Node::Not(inner) => inner.read(depth + 1)?.negate(),
            Node::Test(test) => test.predicate()?,
        })
    }
}

/// The members of a chain of one connective, in their order, however long.
fn chain(predicate: &Predicate, conjunction: bool, depth: usize) -> Option<Vec<PredicateMessage>> {
    let mut parts = Vec::new();
    let mut rest = vec![predicate];
    while let Some(next) = rest.pop() {
        match next {
            Predicate::And(both) if conjunction => rest.extend(both.inputs().into_iter().rev()),
            Predicate::Or(both) if !conjunction => rest.extend(both.inputs().into_iter().rev()),
            other => parts.push(PredicateMessage::at_depth(other, depth + 1)?),
        }
    }
    Some(parts)
}

impl Test {
    fn of<'a>(
        operator: PredicateOperator,
        column: &Reference,
        literals: impl Iterator<Item = &'a Datum>,
    ) -> Option<Self> {
        let operator = OPERATORS.iter().find(|(known, _)| *known == operator)?.1;
        let literals = literals.map(|literal| {
            let ty = serde_json::to_string(&Type::Primitive(literal.data_type().clone())).ok()?;
            let value = literal.to_bytes().ok()?.into_vec();
            Some(Literal { ty: ty.trim_matches('"').to_owned(), value })
        });
        let mut literals = literals.collect::<Option<Vec<Literal>>>()?;
        // A set has no order; the bytes have one.
        literals.sort_by(|a, b| a.value.cmp(&b.value));
        Some(Self { operator, column: column.name().to_owned(), literals })
    }

    fn predicate(self) -> Result<Predicate> {
        let operator = OPERATORS.iter().find(|(_, number)| *number == self.operator);
        let (operator, _) = *operator.ok_or_else(|| broken("it has an unknown operator"))?;
        let column = Reference::new(self.column);
        let mut literals = self.literals.into_iter().map(Literal::datum).collect::<Result<Vec<Datum>>>()?;
        if operator.is_set() {
            return Ok(Predicate::Set(SetExpression::new(operator, column, literals.into_iter().collect())));
        }
        match (literals.pop(), literals.is_empty()) {
            (None, _) if operator.is_unary() => Ok(Predicate::Unary(UnaryExpression::new(operator, column))),
            (Some(literal), true) if operator.is_binary() => {
                Ok(Predicate::Binary(BinaryExpression::new(operator, column, literal)))
            }
            _ => Err(broken("an operator has the wrong number of literals")),
        }
    }
}

impl Literal {
    fn datum(self) -> Result<Datum> {
        let ty: PrimitiveType = serde_json::from_value(serde_json::Value::String(self.ty))
            .map_err(|error| broken("a literal has no type").with_source(error))?;
        datum_of_bytes(&Type::Primitive(ty), &self.value)
    }
}

fn broken(why: &str) -> Error {
    Error::corrupt(format!("conflict filter of a commit request is broken: {why}"))
}
