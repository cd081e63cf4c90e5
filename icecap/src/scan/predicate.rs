//! DataFusion filters as Iceberg predicates, for pruning.
//!
//! The predicate is never narrower than the filter: a row that the filter keeps is a row that the predicate
//! keeps. What cannot be said exactly widens to true. Negations are pushed to the leaves first, so that
//! widening a leaf never narrows the whole.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, Like, Operator};
use icecap_table::iceberg::expr::{Predicate, Reference};
use icecap_table::iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType, Schema, Type};

use super::value::{cast_keeps_order, datum_of};

/// The widest predicate needed for the conjunction of `filters` on a table of `schema`.
pub fn predicate_of(filters: &[Expr], schema: &Schema) -> Predicate {
    filters.iter().fold(Predicate::AlwaysTrue, |all, filter| all.and(convert(filter, schema, false)))
}

/// The predicate that is true for exactly the rows for which all of `filters` are; `None` where it cannot be said.
pub fn exact_predicate(filters: &[Expr], schema: &Schema) -> Option<Predicate> {
    filters.iter().all(|filter| is_exact(filter, schema)).then(|| predicate_of(filters, schema))
}

/// Whether [`convert`] widens nothing. Floats are never exact: DataFusion orders them otherwise than bounds do.
fn is_exact(expr: &Expr, schema: &Schema) -> bool {
    let plain = |expr: &Expr| {
        matches!(expr, Expr::Column(_)) && target_of(expr, schema).is_some_and(|column| !column.is_float())
    };
    let comparable = |column: &Expr, value: &Expr| {
        let Some(target) = target_of(column, schema).filter(|_| plain(column)) else { return false };
        literal_of(value).is_some_and(|value| value.is_null() || datum_of(value, target.ty).is_some())
    };
    match expr {
        Expr::Not(inner) => is_exact(inner, schema),
        Expr::Alias(alias) => is_exact(&alias.expr, schema),
        Expr::Literal(ScalarValue::Boolean(Some(_)), _) => true,
        Expr::Column(_) => {
            target_of(expr, schema).is_some_and(|column| matches!(column.ty, PrimitiveType::Boolean))
        }
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
            matches!(inner.as_ref(), Expr::Column(_)) && target_of_any(inner, schema).is_some()
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => is_exact(left, schema) && is_exact(right, schema),
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq => comparable(left, right) || comparable(right, left),
            _ => false,
        },
        Expr::Between(Between { expr, low, high, .. }) => comparable(expr, low) && comparable(expr, high),
        Expr::InList(list) => list.list.iter().all(|item| comparable(&list.expr, item)),
        _ => false,
    }
}

/// Whether a filter says anything that planning can use.
pub(super) fn is_expressible(filter: &Expr, schema: &Schema) -> bool {
    convert(filter, schema, false) != Predicate::AlwaysTrue
}

/// A column that a predicate can name.
struct Target<'a> {
    name: String,
    ty: &'a PrimitiveType,
    nested: bool,
}

impl Target<'_> {
    fn reference(&self) -> Reference {
        Reference::new(self.name.clone())
    }

    fn is_float(&self) -> bool {
        matches!(self.ty, PrimitiveType::Float | PrimitiveType::Double)
    }
}

fn convert(expr: &Expr, schema: &Schema, negated: bool) -> Predicate {
    match expr {
        Expr::Not(inner) => convert(inner, schema, !negated),
        Expr::Alias(alias) => convert(&alias.expr, schema, negated),
        Expr::Literal(ScalarValue::Boolean(value), _) => match value {
            Some(value) if *value != negated => Predicate::AlwaysTrue,
            _ => Predicate::AlwaysFalse,
        },
        Expr::Column(_) => match target_of(expr, schema) {
            Some(column) if matches!(column.ty, PrimitiveType::Boolean) => {
                column.reference().equal_to(Datum::bool(!negated))
            }
            _ => Predicate::AlwaysTrue,
        },
        Expr::IsTrue(inner) if !negated => convert(inner, schema, false),
        Expr::IsFalse(inner) if !negated => convert(inner, schema, true),
        Expr::IsNotTrue(inner) if negated => convert(inner, schema, false),
        Expr::IsNotFalse(inner) if negated => convert(inner, schema, true),
        Expr::IsNull(inner) => null_test(inner, schema, negated),
        Expr::IsNotNull(inner) => null_test(inner, schema, !negated),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => {
                let (left, right) = (convert(left, schema, negated), convert(right, schema, negated));
                if (*op == Operator::And) == negated { left.or(right) } else { left.and(right) }
            }
            _ => comparison(left, *op, right, schema, negated),
        },
        Expr::Between(Between { expr, negated: not, low, high }) => {
            let negated = *not != negated;
            let low = comparison(expr, Operator::GtEq, low, schema, negated);
            let high = comparison(expr, Operator::LtEq, high, schema, negated);
            if negated { low.or(high) } else { low.and(high) }
        }
        Expr::InList(list) => in_list(list, schema, negated),
        Expr::Like(like) => prefix(like, schema, negated),
        Expr::ScalarFunction(call) if call.name() == "starts_with" && call.args.len() == 2 => {
            match (target_of(&call.args[0], schema), literal_of(&call.args[1])) {
                (Some(column), Some(value)) => starts_with(&column, value, negated),
                _ => Predicate::AlwaysTrue,
            }
        }
        _ => Predicate::AlwaysTrue,
    }
}

fn null_test(expr: &Expr, schema: &Schema, is_not_null: bool) -> Predicate {
    // Null counts of a nested column count its parents' NULLs with some writers and not with others.
    match target_of_any(expr, schema) {
        Some(name) if is_not_null => Reference::new(name).is_not_null(),
        Some(name) => Reference::new(name).is_null(),
        None => Predicate::AlwaysTrue,
    }
}

fn comparison(left: &Expr, op: Operator, right: &Expr, schema: &Schema, negated: bool) -> Predicate {
    let (column, op, value) = match (literal_of(left), literal_of(right)) {
        (None, Some(value)) => (left, op, value),
        (Some(value), None) => match op.swap() {
            Some(op) => (right, op, value),
            None => return Predicate::AlwaysTrue,
        },
        _ => return Predicate::AlwaysTrue,
    };
    let op = if negated {
        match op.negate() {
            Some(op) => op,
            None => return Predicate::AlwaysTrue,
        }
    } else {
        op
    };
    if !matches!(
        op,
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    ) {
        return Predicate::AlwaysTrue;
    }
    let Some(column) = target_of(column, schema) else { return Predicate::AlwaysTrue };
    if value.is_null() {
        return Predicate::AlwaysFalse;
    }
    let Some(datum) = datum_of(value, column.ty) else { return Predicate::AlwaysTrue };
    if column.is_float() { float_comparison(&column, op, datum) } else { plain(&column, op, datum) }
}

fn plain(column: &Target<'_>, op: Operator, datum: Datum) -> Predicate {
    let reference = column.reference();
    match op {
        Operator::Eq => reference.equal_to(datum),
        Operator::NotEq => reference.not_equal_to(datum),
        Operator::Lt => reference.less_than(datum),
        Operator::LtEq => reference.less_than_or_equal_to(datum),
        Operator::Gt => reference.greater_than(datum),
        Operator::GtEq => reference.greater_than_or_equal_to(datum),
        _ => Predicate::AlwaysTrue,
    }
}

/// DataFusion orders floats totally (-0 below +0, NaN above all); bounds know neither NaN nor the sign of
/// zero. So `>` admits NaN, and a comparison with zero admits both zeros.
fn float_comparison(column: &Target<'_>, op: Operator, datum: Datum) -> Predicate {
    // Datums compare as numbers do, so both zeros are equal and only the bits tell them apart.
    let zeros = match datum.literal() {
        PrimitiveLiteral::Float(value) if value.0 == 0.0 => {
            Some((Datum::float(-0.0_f32), Datum::float(0.0_f32)))
        }
        PrimitiveLiteral::Double(value) if value.0 == 0.0 => Some((Datum::double(-0.0), Datum::double(0.0))),
        _ => None,
    };
    let is_zero = zeros.is_some();
    let (below, above) = zeros.unwrap_or_else(|| (datum.clone(), datum.clone()));
    let nan = || column.reference().is_nan();
    match op {
        Operator::Eq if is_zero => {
            plain(column, Operator::GtEq, below).and(plain(column, Operator::LtEq, above))
        }
        Operator::NotEq if is_zero => Predicate::AlwaysTrue,
        Operator::Lt if is_zero => plain(column, Operator::LtEq, above),
        Operator::LtEq => plain(column, op, above),
        Operator::Gt if is_zero => plain(column, Operator::GtEq, below).or(nan()),
        Operator::GtEq => plain(column, op, below).or(nan()),
        Operator::Gt | Operator::NotEq => plain(column, op, datum).or(nan()),
        _ => plain(column, op, datum),
    }
}

fn in_list(list: &InList, schema: &Schema, negated: bool) -> Predicate {
    let negated = list.negated != negated;
    let Some(column) = target_of(&list.expr, schema) else { return Predicate::AlwaysTrue };
    let mut datums = Vec::with_capacity(list.list.len());
    for item in &list.list {
        let Some(value) = literal_of(item) else { return Predicate::AlwaysTrue };
        if value.is_null() {
            // `x NOT IN (…, NULL)` is never true; in `IN` a NULL adds nothing.
            if negated {
                return Predicate::AlwaysFalse;
            }
            continue;
        }
        let Some(datum) = datum_of(value, column.ty) else { return Predicate::AlwaysTrue };
        datums.push(datum);
    }
    if column.is_float() {
        // Each value as its own comparison, for the sake of the zeros.
        return match negated {
            true => Predicate::AlwaysTrue,
            false => datums.into_iter().fold(Predicate::AlwaysFalse, |any, datum| {
                any.or(float_comparison(&column, Operator::Eq, datum))
            }),
        };
    }
    match (datums.is_empty(), negated) {
        (true, false) => Predicate::AlwaysFalse,
        (true, true) => Predicate::AlwaysTrue,
        (false, false) => column.reference().is_in(datums),
        (false, true) => column.reference().is_not_in(datums),
    }
}

fn prefix(like: &Like, schema: &Schema, negated: bool) -> Predicate {
    let negated = like.negated != negated;
    let (Some(column), Some(pattern)) = (target_of(&like.expr, schema), literal_of(&like.pattern)) else {
        return Predicate::AlwaysTrue;
    };
    let text = match pattern {
        ScalarValue::Utf8(Some(v)) | ScalarValue::LargeUtf8(Some(v)) | ScalarValue::Utf8View(Some(v)) => v,
        _ => return Predicate::AlwaysTrue,
    };
    let escape = like.escape_char.unwrap_or('\\');
    let Some(stem) = text.strip_suffix('%') else { return Predicate::AlwaysTrue };
    if like.case_insensitive || stem.contains(['%', '_', '\\']) || stem.contains(escape) || stem.is_empty() {
        return Predicate::AlwaysTrue;
    }
    starts_with(&column, &ScalarValue::Utf8(Some(stem.to_owned())), negated)
}

fn starts_with(column: &Target<'_>, stem: &ScalarValue, negated: bool) -> Predicate {
    match datum_of(stem, column.ty) {
        Some(stem) if matches!(column.ty, PrimitiveType::String) && !negated => {
            column.reference().starts_with(stem)
        }
        Some(stem) if matches!(column.ty, PrimitiveType::String) => column.reference().not_starts_with(stem),
        _ => Predicate::AlwaysTrue,
    }
}

fn literal_of(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Alias(alias) => literal_of(&alias.expr),
        _ => None,
    }
}

/// The primitive column that an expression is: a column, a field of a struct, or either under a cast that
/// keeps its order.
fn target_of<'a>(expr: &Expr, schema: &'a Schema) -> Option<Target<'a>> {
    match expr {
        Expr::Cast(cast) => {
            let column = target_of(&cast.expr, schema)?;
            cast_keeps_order(column.ty, cast.field.data_type()).then_some(column)
        }
        Expr::Column(column) => {
            let field = schema.field_by_name(&column.name)?;
            // A dotted name that is found through its path is a nested column, not this one.
            let top = schema.as_struct().fields().iter().any(|f| f.id == field.id);
            match (&*field.field_type, top) {
                (Type::Primitive(ty), true) => Some(Target { name: column.name.clone(), ty, nested: false }),
                _ => None,
            }
        }
        Expr::ScalarFunction(call) if call.name() == "get_field" && call.args.len() >= 2 => {
            let name = path_of(expr, schema)?;
            let Type::Primitive(ty) = &*schema.field_by_name(&name)?.field_type else { return None };
            Some(Target { name, ty, nested: true })
        }
        _ => None,
    }
}

fn target_of_any(expr: &Expr, schema: &Schema) -> Option<String> {
    let Expr::Column(column) = expr else {
        return target_of(expr, schema).filter(|target| !target.nested).map(|target| target.name);
    };
    let top = schema.as_struct().fields().iter().any(|f| f.name == column.name);
    let primitive = matches!(&*schema.field_by_name(&column.name)?.field_type, Type::Primitive(_));
    (top && primitive).then(|| column.name.clone())
}

/// The dotted name of a field inside structs; `None` when it passes through a list or a map.
fn path_of(expr: &Expr, schema: &Schema) -> Option<String> {
    match expr {
        Expr::Column(column) => {
            let top = schema.as_struct().fields().iter().find(|f| f.name == column.name)?;
            (matches!(&*top.field_type, Type::Struct(_)) && !top.name.contains('.'))
                .then(|| column.name.clone())
        }
        Expr::ScalarFunction(call) if call.name() == "get_field" => {
            let (base, keys) = call.args.split_first()?;
            let mut path = path_of(base, schema)?;
            for key in keys {
                if !matches!(&*schema.field_by_name(&path)?.field_type, Type::Struct(_)) {
                    return None;
                }
                let key = match literal_of(key)? {
                    ScalarValue::Utf8(Some(key)) | ScalarValue::Utf8View(Some(key)) => key,
                    _ => return None,
                };
                if key.contains('.') {
                    return None;
                }
                path = format!("{path}.{key}");
            }
            Some(path)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
