//! Makes of a filter the same filter that counts and times: each call of the host that it makes, and each callback that
//! the host makes. What it finds it adds to counters of its own in Envoy's stats.
//!
//! Each import gets a function around it, and each `proxy_on_…` export too. They read Envoy's monotonic clock before and after,
//! and add to globals. Every [`EACH`] calls the sums go out, when a context is deleted and nothing is timed. The clock's own time
//! is measured there too, to be taken off ([`crate::breakdown`]).

use std::collections::HashMap;

use anyhow::{Context, Result};
use walrus::ir::{BinaryOp, Call, LoadKind, MemArg, UnaryOp, VisitorMut, dfs_pre_order_mut};
use walrus::{
    ConstExpr, DataKind, ExportItem, FunctionBuilder, FunctionId, GlobalId, ImportKind, InstrSeqBuilder, LocalId,
    MemoryId, Module, ModuleConfig, ValType,
};

/// What the counters' names begin with.
pub const PREFIX: &str = "weir_bench";

/// What reading the clock takes is counted under this name.
pub const CLOCK: &str = "clock";

/// What takes longer, in ns, was interrupted: the system let another process run meanwhile. It is counted, but not its time.
const INTERRUPTED: i64 = 200_000;

/// Sums go out when so many calls are over.
const EACH: i32 = 16;

/// Where in the page that is taken for it a number that the host writes stands, and where the names begin.
const SCRATCH: u64 = 0;
const NAMES: i32 = 16;

/// What is added up under a name.
#[derive(Clone, Copy)]
struct Sum {
    /// How often, how long, and how many calls of the host were made meanwhile.
    values: [GlobalId; 3],
    /// The host's numbers for the three counters.
    ids: [GlobalId; 3],
}

/// The names of a sum's counters, behind the sum's own.
pub const PARTS: [&str; 3] = ["count", "ns", "inner"];

/// Functions of the host that the counting itself needs, and what it keeps.
struct Parts {
    memory: MemoryId,
    clock: FunctionId,
    base: GlobalId,
    define: FunctionId,
    increment: FunctionId,
    /// Time in calls of the host, and their number, since the callback began.
    inner: [GlobalId; 2],
    deleted: GlobalId,
}

/// The module, counting.
///
/// # Errors
/// It is no module, or has no memory.
pub fn counting(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = ModuleConfig::new().parse(wasm).context("not a WebAssembly module")?;
    let memory = module.memories.iter().next().context("the module has no memory")?.id();
    let imports: Vec<(String, FunctionId)> = module
        .imports
        .iter()
        .filter_map(|import| match import.kind {
            ImportKind::Function(function) => Some((import.name.clone(), function)),
            _ => None,
        })
        .collect();
    let own: Vec<FunctionId> = module.funcs.iter_local().map(|(id, _)| id).collect();
    let parts = parts(&mut module, memory);
    let mut sums = vec![(CLOCK.to_owned(), sum(&mut module))];

    let mut around = HashMap::new();
    for (name, function) in imports {
        let sum = sum(&mut module);
        around.insert(function, around_import(&mut module, &parts, sum, function));
        sums.push((name, sum));
    }
    for id in own {
        let function = module.funcs.get_mut(id).kind.unwrap_local_mut();
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut Redirect(&around), function, entry);
    }

    let callbacks: Vec<_> = module
        .exports
        .iter()
        .filter_map(|export| match export.item {
            ExportItem::Function(f) if is_callback(&export.name) => Some((export.id(), export.name.clone(), f)),
            _ => None,
        })
        .collect();
    let mut last = Vec::new();
    for (export, name, function) in callbacks {
        if matches!(name.as_str(), "proxy_on_configure" | "proxy_on_delete") {
            last.push((export, name.clone(), function));
        }
        let sum = sum(&mut module);
        let wrapped = around_callback(&mut module, &parts, sum, function);
        module.exports.get_mut(export).item = ExportItem::Function(wrapped);
        sums.push((name, sum));
    }
    for (export, name, _) in last {
        let ExportItem::Function(function) = module.exports.get(export).item else { continue };
        let wrapped = match name.as_str() {
            "proxy_on_configure" => configured(&mut module, &parts, &sums, function),
            _ => deleted(&mut module, &parts, &sums, function),
        };
        module.exports.get_mut(export).item = ExportItem::Function(wrapped);
    }
    Ok(module.emit_wasm())
}

fn is_callback(name: &str) -> bool {
    name.starts_with("proxy_on_") && name != "proxy_on_memory_allocate"
}

/// Sends calls of the host to the functions around them.
struct Redirect<'a>(&'a HashMap<FunctionId, FunctionId>);

impl VisitorMut for Redirect<'_> {
    fn visit_call_mut(&mut self, call: &mut Call) {
        if let Some(around) = self.0.get(&call.func) {
            call.func = *around;
        }
    }
}

fn global(module: &mut Module, ty: ValType) -> GlobalId {
    let zero = if ty == ValType::I64 { walrus::ir::Value::I64(0) } else { walrus::ir::Value::I32(0) };
    module.globals.add_local(ty, true, false, ConstExpr::Value(zero))
}

fn sum(module: &mut Module) -> Sum {
    let values = [(); 3].map(|()| global(module, ValType::I64));
    Sum { values, ids: [(); 3].map(|()| global(module, ValType::I32)) }
}

/// A function of the host: the module's own import of it, or a new one.
fn import(module: &mut Module, from: &str, name: &str, params: &[ValType]) -> FunctionId {
    let there = module.imports.get_func(from, name);
    there.unwrap_or_else(|_| {
        let ty = module.types.add(params, &[ValType::I32]);
        module.add_import_func(from, name, ty).0
    })
}

fn parts(module: &mut Module, memory: MemoryId) -> Parts {
    use ValType::{I32, I64};
    let define = import(module, "env", "proxy_define_metric", &[I32, I32, I32, I32]);
    let increment = import(module, "env", "proxy_increment_metric", &[I32, I64]);
    let read = import(module, "wasi_snapshot_preview1", "clock_time_get", &[I32, I64, I32]);
    let base = global(module, I32);
    // Memory that the module's own allocator never sees.
    let mut clock = FunctionBuilder::new(&mut module.types, &[], &[I64]);
    clock
        .func_body()
        .global_get(base)
        .unop(UnaryOp::I32Eqz)
        .if_else(
            None,
            |then| {
                then.i32_const(1).memory_grow(memory).i32_const(16).binop(BinaryOp::I32Shl).global_set(base);
            },
            |_| {},
        )
        // The monotonic one.
        .i32_const(1)
        .i64_const(1)
        .global_get(base)
        .call(read)
        .drop()
        .global_get(base)
        .load(memory, LoadKind::I64 { atomic: false }, at(SCRATCH, 8));
    let clock = clock.finish(Vec::new(), &mut module.funcs);
    let inner = [(); 2].map(|()| global(module, I64));
    Parts { memory, clock, base, define, increment, inner, deleted: global(module, I32) }
}

fn at(offset: u64, align: u32) -> MemArg {
    MemArg { align, offset }
}

/// A function of the same type that calls `inner`: its builder, its arguments, and a place for its result.
fn around(module: &mut Module, inner: FunctionId) -> (FunctionBuilder, Vec<LocalId>, Option<LocalId>) {
    let ty = module.types.get(module.funcs.get(inner).ty());
    let (params, results) = (ty.params().to_vec(), ty.results().to_vec());
    let arguments = params.iter().map(|ty| module.locals.add(*ty)).collect();
    let result = results.first().map(|ty| module.locals.add(*ty));
    (FunctionBuilder::new(&mut module.types, &params, &results), arguments, result)
}

fn call(body: &mut InstrSeqBuilder<'_>, inner: FunctionId, arguments: &[LocalId], result: Option<LocalId>) {
    for argument in arguments {
        body.local_get(*argument);
    }
    body.call(inner);
    if let Some(result) = result {
        body.local_set(result);
    }
}

fn returns(body: &mut InstrSeqBuilder<'_>, result: Option<LocalId>) {
    if let Some(result) = result {
        body.local_get(result);
    }
}

/// Adds what is on the stack to a global.
fn add_to(body: &mut InstrSeqBuilder<'_>, global: GlobalId) {
    body.global_get(global).binop(BinaryOp::I64Add).global_set(global);
}

/// Adds a time to a global, unless it was [`INTERRUPTED`].
fn add_time(body: &mut InstrSeqBuilder<'_>, time: LocalId, global: GlobalId) {
    body.local_get(time).i64_const(0);
    body.local_get(time).i64_const(INTERRUPTED).binop(BinaryOp::I64LtS).select(None);
    add_to(body, global);
}

fn around_import(module: &mut Module, parts: &Parts, sum: Sum, function: FunctionId) -> FunctionId {
    let (mut builder, arguments, result) = around(module, function);
    let time = module.locals.add(ValType::I64);
    let mut body = builder.func_body();
    body.call(parts.clock).local_set(time);
    call(&mut body, function, &arguments, result);
    body.call(parts.clock).local_get(time).binop(BinaryOp::I64Sub).local_set(time);
    body.i64_const(1);
    add_to(&mut body, sum.values[0]);
    add_time(&mut body, time, sum.values[1]);
    body.local_get(time);
    add_to(&mut body, parts.inner[0]);
    body.i64_const(1);
    add_to(&mut body, parts.inner[1]);
    returns(&mut body, result);
    builder.finish(arguments, &mut module.funcs)
}

/// Its time goes without that of the host's functions that it calls.
fn around_callback(module: &mut Module, parts: &Parts, sum: Sum, function: FunctionId) -> FunctionId {
    let (mut builder, arguments, result) = around(module, function);
    let time = module.locals.add(ValType::I64);
    let mut body = builder.func_body();
    for inner in parts.inner {
        body.i64_const(0).global_set(inner);
    }
    body.call(parts.clock).local_set(time);
    call(&mut body, function, &arguments, result);
    body.call(parts.clock).local_get(time).binop(BinaryOp::I64Sub);
    body.global_get(parts.inner[0]).binop(BinaryOp::I64Sub).local_set(time);
    add_time(&mut body, time, sum.values[1]);
    body.i64_const(1);
    add_to(&mut body, sum.values[0]);
    body.global_get(parts.inner[1]);
    add_to(&mut body, sum.values[2]);
    returns(&mut body, result);
    builder.finish(arguments, &mut module.funcs)
}

/// Once it is configured, the counters are defined; what was counted until then is the start's.
fn configured(module: &mut Module, parts: &Parts, sums: &[(String, Sum)], function: FunctionId) -> FunctionId {
    let mut names = Vec::new();
    let mut places = Vec::new();
    for (name, sum) in sums {
        for (part, id) in PARTS.iter().zip(sum.ids) {
            let name = format!("{PREFIX}.{name}.{part}");
            places.push((names.len() as i32, name.len() as i32, id));
            names.extend(name.into_bytes());
        }
    }
    let size = names.len() as i32;
    let data = module.data.add(DataKind::Passive, names);
    let (mut builder, arguments, result) = around(module, function);
    let mut body = builder.func_body();
    call(&mut body, function, &arguments, result);
    body.call(parts.clock).drop();
    let name_at = |body: &mut InstrSeqBuilder<'_>, offset: i32| {
        body.global_get(parts.base).i32_const(offset).binop(BinaryOp::I32Add);
    };
    name_at(&mut body, NAMES);
    body.i32_const(0).i32_const(size).memory_init(parts.memory, data);
    for (offset, length, id) in places {
        // A counter.
        body.i32_const(0);
        name_at(&mut body, NAMES + offset);
        body.i32_const(length).global_get(parts.base).call(parts.define).drop();
        body.global_get(parts.base).load(parts.memory, LoadKind::I32 { atomic: false }, at(SCRATCH, 4)).global_set(id);
    }
    for value in sums.iter().flat_map(|(_, sum)| sum.values) {
        body.i64_const(0).global_set(value);
    }
    returns(&mut body, result);
    builder.finish(arguments, &mut module.funcs)
}

/// When a context is gone, the clock is timed, and every so often the sums go out.
fn deleted(module: &mut Module, parts: &Parts, sums: &[(String, Sum)], function: FunctionId) -> FunctionId {
    let (mut builder, arguments, result) = around(module, function);
    let time = module.locals.add(ValType::I64);
    let mut body = builder.func_body();
    call(&mut body, function, &arguments, result);
    if let Some((_, clock)) = sums.iter().find(|(name, _)| name == CLOCK) {
        body.call(parts.clock).local_set(time);
        body.call(parts.clock).local_get(time).binop(BinaryOp::I64Sub).local_set(time);
        add_time(&mut body, time, clock.values[1]);
        body.i64_const(1);
        add_to(&mut body, clock.values[0]);
    }
    body.global_get(parts.deleted).i32_const(1).binop(BinaryOp::I32Add).global_set(parts.deleted);
    body.global_get(parts.deleted).i32_const(EACH).binop(BinaryOp::I32GeS);
    body.if_else(
        None,
        |then| {
            then.i32_const(0).global_set(parts.deleted);
            for (id, value) in sums.iter().flat_map(|(_, sum)| sum.ids.into_iter().zip(sum.values)) {
                then.global_get(id).global_get(value).call(parts.increment).drop();
                then.i64_const(0).global_set(value);
            }
        },
        |_| {},
    );
    returns(&mut body, result);
    builder.finish(arguments, &mut module.funcs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use walrus::ir::{Visitor, dfs_in_order};

    use super::*;

    /// A filter whose `proxy_on_log` calls `env.proxy_log` twice.
    fn filter(with_memory: bool) -> Vec<u8> {
        let mut module = Module::default();
        if with_memory {
            module.memories.add_local(false, false, 1, None, None);
        }
        let ty = module.types.add(&[ValType::I32; 3], &[ValType::I32]);
        let (log, _) = module.add_import_func("env", "proxy_log", ty);
        let arguments = [(); 2].map(|()| module.locals.add(ValType::I32));
        for (name, arguments) in [("proxy_on_log", &arguments[..1]), ("proxy_on_configure", &arguments), ("other", &[])]
        {
            let mut export =
                FunctionBuilder::new(&mut module.types, &vec![ValType::I32; arguments.len()], &[ValType::I32]);
            let mut body = export.func_body();
            body.i32_const(0).i32_const(0).i32_const(0).call(log);
            let export = export.finish(arguments.to_vec(), &mut module.funcs);
            module.exports.add(name, export);
        }
        module.emit_wasm()
    }

    #[test]
    fn each_call_of_the_host_is_counted_in_one_place_and_every_callback_has_a_function_around_it() {
        let module = Module::from_buffer(&counting(&filter(true)).unwrap()).unwrap();
        struct Calls<'a>(&'a Module, BTreeMap<String, usize>);
        impl Visitor<'_> for Calls<'_> {
            fn visit_call(&mut self, call: &Call) {
                if let walrus::FunctionKind::Import(import) = &self.0.funcs.get(call.func).kind {
                    *self.1.entry(self.0.imports.get(import.import).name.clone()).or_default() += 1;
                }
            }
        }
        let mut calls = Calls(&module, BTreeMap::new());
        module.funcs.iter_local().for_each(|(_, f)| dfs_in_order(&mut calls, f, f.entry_block()));
        assert_eq!([calls.1["proxy_log"], calls.1["clock_time_get"]], [1, 1]);
        // Three counters each of the clock, the import and two callbacks.
        assert_eq!(calls.1["proxy_define_metric"], 12);
        let around = |name| match module.exports.iter().find(|export| export.name == name).unwrap().item {
            ExportItem::Function(function) => module.funcs.get(function).kind.unwrap_local().size(),
            _ => 0,
        };
        assert!(around("other") < 10 && around("proxy_on_log") > 10 && around("proxy_on_configure") > 10);
    }

    #[test]
    fn what_cannot_count_is_refused() {
        assert!(counting(b"text").is_err());
        assert!(counting(&filter(false)).unwrap_err().to_string().contains("no memory"));
    }
}
