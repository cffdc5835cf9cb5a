//! Has a module's functions call one another through its table, so that V8 cannot copy them into each other.
//!
//! Envoy's V8 compiles a module when it loads it, and with its optimising compiler alone. Without the baseline compiler there are no counts
//! of calls, and V8 then inlines blindly: it follows each direct call, in order, until a function has grown by as much as it had. What it finds first
//! is the allocator and what panics, over and over; a .wasm whose compiler has inlined what is worth it wins little from that,
//! and has twice the code to compile and to keep (docs/bench.md). V8 does not follow a call through a table.
//!
//! Nothing else changes: each `call f` becomes the constant of f's new place in the table and a `call_indirect` of f's own type.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use walrus::ir::{
    Call, CallIndirect, Const, Instr, InstrSeq, Value, Visitor, VisitorMut, dfs_in_order, dfs_pre_order_mut,
};
use walrus::{ConstExpr, ElementItems, ElementKind, FunctionId, Module, ModuleConfig, TableId, TypeId};

/// Smaller functions are called as before, in instructions as walrus counts them: to inline these costs little, and is often a gain.
const MIN_SIZE: u64 = 40;

/// The module with its calls through its table.
///
/// # Errors
/// It is no module, or has no table.
pub fn rewritten(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module =
        ModuleConfig::new().generate_name_section(false).parse(wasm).context("not a WebAssembly module")?;
    let table = module.tables.iter().next().context("the module has no table")?.id();
    let places = places(&mut module, table)?;
    for (_, function) in module.funcs.iter_local_mut() {
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut Rewrite { table, places: &places }, function, entry);
    }
    Ok(module.emit_wasm())
}

/// Puts what is to be called through the table into it, behind what is there.
fn places(module: &mut Module, table: TableId) -> Result<HashMap<FunctionId, (i32, TypeId)>> {
    let called = called(module);
    let mut functions: Vec<(FunctionId, TypeId)> = module
        .funcs
        .iter_local()
        .filter(|(id, function)| function.size() >= MIN_SIZE && called.contains(id))
        .map(|(id, function)| (id, function.ty()))
        .collect();
    functions.sort();
    let (first, more) = (i32::try_from(module.tables.get(table).initial)?, functions.len() as u64);
    let place = |(at, (id, ty)): (usize, &(FunctionId, TypeId))| Ok((*id, (first + i32::try_from(at)?, *ty)));
    let places = functions.iter().enumerate().map(place).collect::<Result<_>>()?;

    let ids = functions.into_iter().map(|(id, _)| id).collect();
    let kind = ElementKind::Active { table, offset: ConstExpr::Value(Value::I32(first)) };
    let segment = module.elements.add(kind, ElementItems::Functions(ids));
    let table = module.tables.get_mut(table);
    table.elem_segments.insert(segment);
    table.initial += more;
    table.maximum = table.maximum.map(|most| most + more);
    Ok(places)
}

/// The functions that are called directly.
fn called(module: &Module) -> HashSet<FunctionId> {
    struct Called(HashSet<FunctionId>);
    impl Visitor<'_> for Called {
        fn visit_call(&mut self, call: &Call) {
            self.0.insert(call.func);
        }
    }
    let mut called = Called(HashSet::new());
    module.funcs.iter_local().for_each(|(_, function)| dfs_in_order(&mut called, function, function.entry_block()));
    called.0
}

struct Rewrite<'a> {
    table: TableId,
    places: &'a HashMap<FunctionId, (i32, TypeId)>,
}

impl VisitorMut for Rewrite<'_> {
    fn end_instr_seq_mut(&mut self, sequence: &mut InstrSeq) {
        let mut instructions = Vec::with_capacity(sequence.instrs.len());
        for (instruction, at) in sequence.instrs.drain(..) {
            let place = match &instruction {
                Instr::Call(call) => self.places.get(&call.func),
                _ => None,
            };
            match place {
                Some((place, ty)) => {
                    instructions.push((Instr::Const(Const { value: Value::I32(*place) }), at));
                    instructions.push((Instr::CallIndirect(CallIndirect { ty: *ty, table: self.table }), at));
                }
                None => instructions.push((instruction, at)),
            }
        }
        sequence.instrs = instructions;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(func $add) (func $main: add(1, 2) twice)`, with a table, made with walrus.
    fn module(instructions: usize) -> Vec<u8> {
        use walrus::{FunctionBuilder, RefType, ValType};
        let mut module = Module::default();
        module.tables.add_local(false, 1, Some(1), RefType::FUNCREF);
        let (a, b) = (module.locals.add(ValType::I32), module.locals.add(ValType::I32));
        let mut add = FunctionBuilder::new(&mut module.types, &[ValType::I32; 2], &[ValType::I32]);
        let mut body = add.func_body();
        body.local_get(a);
        for _ in 0..instructions {
            body.local_get(b).binop(walrus::ir::BinaryOp::I32Add);
        }
        let add = add.finish(vec![a, b], &mut module.funcs);
        let mut main = FunctionBuilder::new(&mut module.types, &[], &[ValType::I32]);
        main.func_body().i32_const(1).i32_const(2).call(add).i32_const(3).call(add);
        let main = main.finish(vec![], &mut module.funcs);
        module.exports.add("main", main);
        module.emit_wasm()
    }

    /// Direct calls, calls through the table, places in the table.
    fn facts(wasm: &[u8]) -> (usize, usize, u64) {
        #[derive(Default)]
        struct Calls(usize, usize);
        impl Visitor<'_> for Calls {
            fn visit_call(&mut self, _: &Call) {
                self.0 += 1;
            }
            fn visit_call_indirect(&mut self, _: &CallIndirect) {
                self.1 += 1;
            }
        }
        let module = Module::from_buffer(wasm).unwrap();
        let mut calls = Calls::default();
        module.funcs.iter_local().for_each(|(_, f)| dfs_in_order(&mut calls, f, f.entry_block()));
        (calls.0, calls.1, module.tables.iter().next().unwrap().initial)
    }

    #[test]
    fn a_function_worth_it_is_called_through_the_table_and_a_small_one_as_before() {
        for (instructions, before, after) in [(100, (2, 0, 1), (0, 2, 2)), (1, (2, 0, 1), (2, 0, 1))] {
            let wasm = module(instructions);
            assert_eq!(facts(&wasm), before, "{instructions} instructions");
            assert_eq!(facts(&rewritten(&wasm).unwrap()), after, "{instructions} instructions");
        }
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for wrong in [&b""[..], b"text", b"\0asm\x01\0\0\0\xff"] {
            assert!(rewritten(wrong).is_err());
        }
        let no_table = Module::default().emit_wasm();
        assert!(rewritten(&no_table).unwrap_err().to_string().contains("no table"));
    }
}
