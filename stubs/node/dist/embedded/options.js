/** The engine's configuration, as `mlxforge_engine_open` takes it. */
export function configJson({ model, settings }) {
    return JSON.stringify({ ...settings, ...(model === undefined ? {} : { model }) });
}
//# sourceMappingURL=options.js.map