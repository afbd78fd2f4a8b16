module bindings

go 1.19

require latchkey v0.0.0
