//! A row predicate bound to a schema's fields.

use iceberg::expr::{Predicate, PredicateOperator};
use iceberg::spec::{Datum, PrimitiveType, Schema, Transform};
use iceberg::transform::create_transform_function;

use super::facts::{Facts, Order, Set, Test};
use super::truth::Truth;
use super::value::Value;

/// Deeper predicates are not looked into: a recursion must end before the stack does.
const MAX_DEPTH: usize = 128;

/// A column that a filter tests.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) id: i32,
    /// `None` for a struct, list or map, of which only `IS NULL` can be asked.
    pub(crate) ty: Option<PrimitiveType>,
    /// Whether it is a field of the row itself and not of a struct in it.
    pub(crate) top_level: bool,
}

#[derive(Debug, Clone)]
enum Node {
    Constant(Truth),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Test(usize, Test),
}

/// A predicate bound to field ids. Its parts that cannot be judged stand for "any truth value".
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    root: Node,
    columns: Vec<Column>,
    widened: bool,
}

impl Filter {
    /// Binds `predicate` to the names of `schema`, case-sensitively.
    pub(crate) fn bind(predicate: &Predicate, schema: &Schema) -> Self {
        let mut binder = Binder { schema, columns: Vec::new(), widened: false };
        let root = binder.node(predicate, 0);
        Self { root, columns: binder.columns, widened: binder.widened }
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Whether some part could not be expressed and stands for any truth value.
    pub(crate) fn is_widened(&self) -> bool {
        self.widened
    }

    /// Whether the predicate is simply true.
    pub(crate) fn is_always_true(&self) -> bool {
        matches!(&self.root, Node::Constant(truth) if *truth == Truth::TRUE)
    }

    /// The truth values over rows of which `facts` hold, one for each of [`columns`](Self::columns).
    pub(crate) fn over(&self, facts: &[Facts]) -> Truth {
        self.root.over(facts)
    }

    /// Computes, for later judging, the buckets of every literal compared with column `at`.
    pub(crate) fn prepare_buckets(&mut self, at: usize, count: u32) {
        if let Some(ty) = self.columns[at].ty.clone() {
            self.root.prepare_buckets(at, count, &ty);
        }
    }
}

impl Node {
    fn over(&self, facts: &[Facts]) -> Truth {
        match self {
            Self::Constant(truth) => *truth,
            Self::And(parts) => parts.iter().fold(Truth::TRUE, |all, part| all.and(part.over(facts))),
            Self::Or(parts) => parts.iter().fold(Truth::FALSE, |all, part| all.or(part.over(facts))),
            Self::Not(inner) => inner.over(facts).negate(),
            Self::Test(column, test) => test.over(&facts[*column]),
        }
    }

    fn prepare_buckets(&mut self, at: usize, count: u32, ty: &PrimitiveType) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter_mut().for_each(|part| part.prepare_buckets(at, count, ty));
            }
            Self::Not(inner) => inner.prepare_buckets(at, count, ty),
            Self::Test(column, Test::In(set)) if *column == at => {
                let buckets = set.values().iter().map(|value| bucket(value, count, ty)).collect();
                set.set_buckets(count, buckets);
            }
            Self::Constant(_) | Self::Test(..) => {}
        }
    }
}

/// The bucket of `value` among `count`, where it is certain that all writers agree on it.
fn bucket(value: &Value, count: u32, ty: &PrimitiveType) -> Option<i32> {
    if !(1..=i32::MAX as u32).contains(&count) {
        return None;
    }
    let nanos = matches!(ty, PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs);
    // Nanoseconds hash as microseconds; before 1970 writers round differently.
    if nanos && matches!(value, Value::Int(v) if *v < 0) {
        return None;
    }
    let datum = value.to_datum(ty)?;
    let function = create_transform_function(&Transform::Bucket(count)).ok()?;
    match function.transform_literal(&datum).ok()??.literal() {
        iceberg::spec::PrimitiveLiteral::Int(bucket) => Some(*bucket),
        _ => None,
    }
}

struct Binder<'a> {
    schema: &'a Schema,
    columns: Vec<Column>,
    widened: bool,
}

impl Binder<'_> {
    fn node(&mut self, predicate: &Predicate, depth: usize) -> Node {
        if depth > MAX_DEPTH {
            return self.widen();
        }
        match predicate {
            Predicate::AlwaysTrue => Node::Constant(Truth::TRUE),
            Predicate::AlwaysFalse => Node::Constant(Truth::FALSE),
            Predicate::And(_) => Node::And(self.parts(predicate, true, depth)),
            Predicate::Or(_) => Node::Or(self.parts(predicate, false, depth)),
            Predicate::Not(inner) => Node::Not(Box::new(self.node(inner.inputs()[0], depth + 1))),
            Predicate::Unary(unary) => self.unary(unary.op(), unary.term().name()),
            Predicate::Binary(binary) => {
                self.comparison(binary.op(), binary.term().name(), std::iter::once(binary.literal()))
            }
            Predicate::Set(set) => self.comparison(set.op(), set.term().name(), set.literals().iter()),
        }
    }

    /// The members of a chain of one connective, however long, without recursion along the chain.
    fn parts(&mut self, chain: &Predicate, conjunction: bool, depth: usize) -> Vec<Node> {
        let mut parts = Vec::new();
        let mut rest = vec![chain];
        while let Some(next) = rest.pop() {
            match next {
                Predicate::And(both) if conjunction => rest.extend(both.inputs().into_iter().rev()),
                Predicate::Or(both) if !conjunction => rest.extend(both.inputs().into_iter().rev()),
                other => parts.push(self.node(other, depth + 1)),
            }
        }
        parts
    }

    fn unary(&mut self, op: PredicateOperator, name: &str) -> Node {
        let Some(at) = self.column(name) else { return self.widen() };
        let ty = &self.columns[at].ty;
        let floating = matches!(ty, Some(PrimitiveType::Float | PrimitiveType::Double));
        match op {
            PredicateOperator::IsNull => Node::Test(at, Test::IsNull),
            PredicateOperator::NotNull => negated(Node::Test(at, Test::IsNull)),
            PredicateOperator::IsNan if floating => Node::Test(at, Test::IsNan),
            PredicateOperator::NotNan if floating => negated(Node::Test(at, Test::IsNan)),
            _ => self.widen(),
        }
    }

    fn comparison<'d>(
        &mut self,
        op: PredicateOperator,
        name: &str,
        literals: impl Iterator<Item = &'d Datum>,
    ) -> Node {
        use PredicateOperator as Op;
        let Some(at) = self.column(name) else { return self.widen() };
        let Some(ty) = self.columns[at].ty.clone() else { return self.widen() };
        let values: Option<Vec<Value>> =
            literals.map(|literal| Value::of_datum(literal, &ty).filter(|value| !value.is_nan())).collect();
        let Some(mut values) = values else { return self.widen() };
        if matches!(op, Op::In | Op::NotIn | Op::Eq | Op::NotEq) {
            let test = Node::Test(at, Test::In(Set::new(values)));
            return if matches!(op, Op::NotIn | Op::NotEq) { negated(test) } else { test };
        }
        let Some(value) = values.pop() else { return self.widen() };
        let compare = |order, value| Node::Test(at, Test::Compare(order, value));
        match (op, value) {
            (Op::LessThan, value) => compare(Order::Below, value),
            (Op::LessThanOrEq, value) => compare(Order::AtMost, value),
            (Op::GreaterThan, value) => compare(Order::Above, value),
            (Op::GreaterThanOrEq, value) => compare(Order::AtLeast, value),
            (Op::StartsWith, Value::Bytes(prefix)) => Node::Test(at, Test::StartsWith(prefix)),
            (Op::NotStartsWith, Value::Bytes(prefix)) => negated(Node::Test(at, Test::StartsWith(prefix))),
            _ => self.widen(),
        }
    }

    /// The index of the column called `name`, where it is one that a row has once.
    fn column(&mut self, name: &str) -> Option<usize> {
        let field = self.schema.field_by_name(name)?;
        let top_level = self.schema.as_struct().field_by_id(field.id).is_some();
        // Only fields that are reached through structs alone have an accessor.
        if !top_level && self.schema.accessor_by_field_id(field.id).is_none() {
            return None;
        }
        if let Some(at) = self.columns.iter().position(|column| column.id == field.id) {
            return Some(at);
        }
        let ty = field.field_type.as_primitive_type().cloned();
        self.columns.push(Column { id: field.id, ty, top_level });
        Some(self.columns.len() - 1)
    }

    fn widen(&mut self) -> Node {
        self.widened = true;
        Node::Constant(Truth::ANY)
    }
}

fn negated(node: Node) -> Node {
    Node::Not(Box::new(node))
}
