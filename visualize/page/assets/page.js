"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("graph").textContent), page = JSON.parse($("page").textContent);
  const nodes = data.nodes, edges = data.edges, modules = data.modules, boxes = page.containers, homes = page.homes;
  const picture = $("graph-picture"), root = document.documentElement;
  const calm = matchMedia("(prefers-reduced-motion: reduce)"), dark = matchMedia("(prefers-color-scheme: dark)");
  const PAD = 14, HEAD = 30, NEAR = 24, SVG = "http://www.w3.org/2000/svg";
  const ARRAYS = { parameters: ["parameter", "buffer"], constants: ["constant"], views: ["view"] };
  const BESIDE = new Set(["parameter", "buffer", "constant"]);

  // ---------------------------------------------------------------- the graph

  const incoming = nodes.map(() => []), outgoing = nodes.map(() => []), gradients = new Map();
  edges.forEach((edge, number) => { outgoing[edge.source].push(number); incoming[edge.target].push(number); });
  nodes.forEach((node) => {
    if (node.belongs_to === undefined || node.belongs_to === null) return;
    if (!gradients.has(node.belongs_to)) gradients.set(node.belongs_to, []);
    gradients.get(node.belongs_to).push(node.id);
  });
  const order = boxes.map(() => -1), paths = [], childBoxes = new Map([[-1, []]]), childNodes = new Map([[-1, []]]);
  boxes.forEach((box, id) => {
    paths.push([...(box.parent < 0 ? [] : paths[box.parent]), id]);
    childBoxes.get(box.parent).push(id);
    childBoxes.set(id, []);
    childNodes.set(id, []);
  });
  homes.forEach((home, id) => {
    childNodes.get(home).push(id);
    if (nodes[id].op) for (const box of pathOf(home)) order[box] = Math.max(order[box], id);
  });
  const saidInFull = new Set(page.unclear);

  function pathOf(home) { return home < 0 ? [] : paths[home]; }
  const words = (id) => {
    const [kind, title, variable = "", notes = [], remarks = [], measured = []] = page.nodes[id];
    return { kind, title, variable, notes, remarks, measured };
  };
  const idOf = (key) => Number(key.slice(1));
  const isBox = (key) => key[0] === "b";
  const parentOf = (key) => (isBox(key) ? boxes[idOf(key)].parent : homes[idOf(key)]);
  function shapeText(shape) { return shape && shape.length ? shape.join("×") : "scalar"; }
  function valueText(value) { return `${shapeText(value.shape)} ${value.dtype}`; }
  function bytesOf(value) {
    const bits = Number((value.dtype.match(/\d/g) || []).join("")) || 8;
    return (value.shape || []).reduce((product, side) => product * side, 1) * Math.floor(bits / 8);
  }
  function valueOf(edge) { return edge.value || (nodes[edge.source].outputs || [])[edge.output || 0]; }
  function sourceText(source) { return source ? `${source.file}:${source.line}${source.text ? `: ${source.text}` : ""}` : ""; }
  function oneLine(title) { return title.replace(/\n/g, ", "); }
  function nameOf(key) {
    if (isBox(key)) return boxes[idOf(key)].title;
    const { title, variable } = words(idOf(key));
    return oneLine(variable ? `${variable} = ${title}` : title);
  }

  // ---------------------------------------------------------------- what is shown

  const state = {
    open: new Set(page.open), within: -1, hidden: new Set(), selected: null, colorBy: page.colorBy in page.measures ? page.colorBy : "",
    hits: [], hit: -1,
  };
  let shown = new Map(); // what can be reached: key to {x, y, w, h, element}
  let levels = new Map(), frame = { x: 0, y: 0, w: 1, h: 1 };
  const layouts = new Map();

  const isHidden = (id) => {
    const node = nodes[id];
    if (!state.hidden.size || node.mark) return false;
    for (const what of state.hidden) if (ARRAYS[what].includes(node.kind)) return !node.op || incoming[id].length > 0;
    return false;
  };

  // Who stands for the source of an edge, if views are passed over.
  function origin(edge) {
    let source = edge.source, output = edge.output || 0;
    while (isHidden(source)) {
      if (!nodes[source].op) return null;
      const first = edges[incoming[source][0]];
      source = first.source;
      output = first.output || 0;
    }
    return [source, output];
  }

  // For each box the open ones around what is in it, from the outermost shown, and the closed one that it disappears in.
  function places() {
    const found = new Map([[-1, state.within === -1 ? { levels: [-1], closed: -1 } : null]]);
    boxes.forEach((box, id) => {
      const above = found.get(box.parent);
      if (id === state.within) found.set(id, { levels: [id], closed: -1 });
      else if (!above || above.closed >= 0) found.set(id, above);
      else if (state.open.has(id)) found.set(id, { levels: [...above.levels, id], closed: -1 });
      else found.set(id, { levels: above.levels, closed: id });
    });
    return found;
  }

  function build() {
    const where = places(), full = new Set();
    levels = new Map([[state.within, newLevel()]]);
    const itemOf = (id) => {
      const place = where.get(homes[id]);
      return place && { levels: place.levels, item: place.closed >= 0 ? `b${place.closed}` : `n${id}` };
    };
    nodes.forEach((node, id) => {
      if (isHidden(id)) return;
      for (const box of pathOf(homes[id])) full.add(box);
      const place = where.get(homes[id]);
      if (!place) return;
      for (const one of place.levels) if (!levels.has(one)) levels.set(one, newLevel());
      if (place.closed < 0) levels.get(place.levels[place.levels.length - 1]).items.push({ id: `n${id}`, order: id });
    });
    boxes.forEach((box, id) => {
      if (id === state.within || !full.has(id)) return;
      const above = where.get(box.parent), own = where.get(id);
      if (!above || above.closed >= 0) return;
      levels.get(above.levels[above.levels.length - 1]).items.push({ id: `b${id}`, order: order[id] + 0.5, open: own.closed < 0 });
    });
    for (const level of levels.values()) level.items.sort((one, other) => one.order - other.order);
    edges.forEach((edge, number) => {
      if (isHidden(edge.target)) return;
      const from = origin(edge);
      if (!from) return;
      const source = itemOf(from[0]), target = itemOf(edge.target);
      if (!source && !target) return;
      // What a gradient reads of the forward pass crosses the border of a module as one bundle.
      const kept = nodes[edge.target].backward && !nodes[from[0]].backward;
      const port = kept ? "kept" : `${from[0]}:${from[1]}`;
      let common = 0;
      const ways = [source ? source.levels : [], target ? target.levels : []];
      while (common < ways[0].length && common < ways[1].length && ways[0][common] === ways[1][common]) common++;
      const at = (place, level) => (level + 1 < place.levels.length ? { id: `b${place.levels[level + 1]}`, port } : { id: place.item });
      if (source && target) {
        const one = at(source, common - 1), other = at(target, common - 1);
        if (one.id === other.id) return;
        link(levels.get(ways[0][common - 1]), one, other, number);
      }
      for (let level = common; level < ways[0].length; level++) link(levels.get(ways[0][level]), at(source, level), { id: `o:${port}` }, number);
      for (let level = common; level < ways[1].length; level++) link(levels.get(ways[1][level]), { id: `i:${port}` }, at(target, level), number);
    });
  }
  function newLevel() { return { items: [], links: [], known: new Map(), ports: new Set() }; }
  function link(level, from, to, number) {
    const key = `${from.id}|${from.port || ""}|${to.id}|${to.port || ""}`;
    let found = level.known.get(key);
    if (!found) {
      found = { from: from.id, to: to.id, fromPort: from.port, toPort: to.port, edges: [], weight: 1 };
      level.known.set(key, found);
      level.links.push(found);
      if (from.id[0] === "i") level.ports.add(from.id);
      if (to.id[0] === "o") level.ports.add(to.id);
    }
    found.edges.push(number);
    const source = nodes[edges[number].source];
    found.weight = Math.max(found.weight, source.op ? 3 : source.kind === "input" ? 2 : 1);
  }

  // Arrays that only one item of their level reads stand at its sides.
  function besideOf(level) {
    const readers = new Map(), arriving = new Map(), open = new Set(level.items.filter((item) => item.open).map((item) => item.id));
    for (const { from, to } of level.links) {
      if (to === "o:kept") continue; // by a gradient, elsewhere
      if (!readers.has(from)) readers.set(from, new Set());
      readers.get(from).add(to);
      if (!arriving.has(to)) arriving.set(to, new Set());
      arriving.get(to).add(from);
    }
    const found = new Map();
    for (const { id } of level.items) {
      if (isBox(id) || !BESIDE.has(nodes[idOf(id)].kind) || incoming[idOf(id)].length) continue;
      const its = readers.get(id);
      if (!its || its.size !== 1) continue;
      const [reader] = its;
      if (reader[0] === "o" || open.has(reader)) continue;
      if (!found.has(reader)) found.set(reader, []);
      found.get(reader).push(id);
    }
    for (const [reader, its] of found) if (its.length === arriving.get(reader).size || its.length > 6) found.delete(reader);
    return found;
  }

  // ---------------------------------------------------------------- sizes

  const pencil = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily, widths = new Map();
  function measure(text, size, weight) {
    const key = `${size}${weight}${text}`;
    if (!widths.has(key)) {
      pencil.font = `${weight} ${size}px ${family}`;
      widths.set(key, pencil.measureText(text).width);
    }
    return widths.get(key);
  }
  const ROOM = { ellipse: [1.22, 26, 16], cylinder: [1, 26, 18], octagon: [1, 44, 16], hexagon: [1, 44, 12], box3d: [1, 30, 18], note: [1, 30, 12], box: [1, 26, 14] };

  function linesOf(key) {
    if (isBox(key)) {
      const box = boxes[idOf(key)], measured = state.colorBy in (box.sums || {}) ? rowOf(box, state.colorBy) : "";
      const lines = [["title", box.title, 13, 700]];
      if (box.note) lines.push(["note", box.note, 11, 400]);
      if (box.inside && box.kind !== "composite" && box.kind !== "backward") lines.push(["note", box.inside, 11, 400]);
      if (box.kind === "part" && box.name) lines.push(["note", box.name, 11, 400]);
      if (measured) lines.push(["measured", measured, 11, 700]);
      return lines;
    }
    const { title, variable, notes, remarks, measured } = words(idOf(key)), node = nodes[idOf(key)];
    const sign = node.mark && page.marks[node.mark] ? `${page.marks[node.mark][0]} ` : "";
    const lines = title.split("\n").map((text) => ["title", text, 13, 700]);
    lines[0][1] = sign + lines[0][1];
    if (variable) lines[0][4] = variable;
    for (const note of notes) lines.push(["note", note, 11, 400]);
    const at = (node.measures || []).findIndex(([name]) => name === state.colorBy);
    if (at >= 0) lines.push(["measured", `${page.measures[state.colorBy].word} ${measured[at]}`.trim(), 11, 700]);
    for (const remark of remarks) lines.push(["remark-line", remark, 11, 400]);
    return lines;
  }
  function rowOf(box, name) { return (box.rows.find((row) => row[0] === name) || ["", ""])[1]; }
  function lookOf(key) { return isBox(key) ? boxes[idOf(key)].look || "module" : words(idOf(key)).kind; }
  function shapeOf(key) { return isBox(key) && lookOf(key) === "loss" ? "octagon" : page.shapes[lookOf(key)] || "box"; }
  function sizeOf(key) {
    const lines = linesOf(key), [factor, wide, high] = ROOM[shapeOf(key)] || ROOM.box;
    const width = Math.max(...lines.map(([, text, size, weight, variable]) => measure(text, size, weight) + (variable ? measure(`${variable} = `, 13, 400) : 0)));
    const height = lines.reduce((sum, [, , size]) => sum + lineHeight(size), 0);
    return { w: Math.round(Math.max(width * factor + wide, 44)), h: Math.round(height * (factor > 1 ? 1.12 : 1) + high) };
  }
  function lineHeight(size) { return size + 5; }

  // ---------------------------------------------------------------- layout

  const turned = page.direction === "LR" || page.direction === "RL", reversed = page.direction === "BT" || page.direction === "RL";
  // Room around the inside of an open module: [before and behind the flow, left and right of it].
  const before = page.direction === "TB" ? HEAD : PAD, behind = page.direction === "BT" ? HEAD : PAD, aleft = turned ? HEAD : PAD, aright = PAD;

  function layoutOf(box) {
    const level = levels.get(box), inner = new Map();
    let signature = `${box}|${[...state.hidden].sort()}|${state.colorBy}|`;
    for (const item of level.items) {
      if (!item.open) continue;
      const id = idOf(item.id), below = layoutOf(id);
      inner.set(item.id, below);
      signature += `${below.signature};`;
    }
    if (layouts.has(signature)) return layouts.get(signature);
    const items = level.items.map((item) => {
      const below = inner.get(item.id);
      if (below) return { id: item.id, w: below.w, h: below.h, ins: below.ins, outs: below.outs };
      const size = sizeOf(item.id);
      return turned ? { id: item.id, w: size.h, h: size.w } : { id: item.id, ...size };
    });
    const made = Levels.arrange({ items, links: level.links, ports: level.ports, beside: besideOf(level) });
    const result = { signature, made, inner, links: level.links, open: new Set(inner.keys()) };
    if (box === state.within) {
      Object.assign(result, { w: made.w, h: made.h, dx: 0, dy: 0, ins: made.ins, outs: made.outs });
    } else {
      // The first and last layers of a level with ports are its ports, which may lie on the border.
      const start = before - (made.ins.size ? NEAR : 0), end = behind - (made.outs.size ? NEAR : 0);
      const title = measure(boxes[box].title, 12, 700) + 48, wide = made.w + aleft + aright, long = made.h + start + end;
      const w = turned ? wide : Math.max(wide, title), h = turned ? Math.max(long, title) : long;
      const dx = aleft + (w - wide) / 2;
      const moved = (ports) => new Map([...ports].map(([port, x]) => [port, x + dx]));
      Object.assign(result, { w, h, dx, dy: start + (h - long) / 2, ins: moved(made.ins), outs: moved(made.outs) });
    }
    if (layouts.size > 600) layouts.clear();
    layouts.set(signature, result);
    return result;
  }

  // ---------------------------------------------------------------- drawing

  function make(name, attributes = {}, ...children) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== null && value !== "") element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  function h(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "click") element.addEventListener("click", value);
      else if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  const viewport = make("g", { id: "viewport" });
  picture.append(viewport);

  function outline(shape, w, height, r = 9) {
    const ry = r * 0.65;
    switch (shape) {
      case "ellipse": return [`M0 ${height / 2}A${w / 2} ${height / 2} 0 1 1 ${w} ${height / 2}A${w / 2} ${height / 2} 0 1 1 0 ${height / 2}Z`];
      case "cylinder": return [
        `M0 ${ry}A${w / 2} ${ry} 0 0 1 ${w} ${ry}V${height - ry}A${w / 2} ${ry} 0 0 1 0 ${height - ry}Z`,
        `M0 ${ry}A${w / 2} ${ry} 0 0 0 ${w} ${ry}`];
      case "octagon": { const c = Math.min(14, height / 3); return [`M${c} 0H${w - c}L${w} ${c}V${height - c}L${w - c} ${height}H${c}L0 ${height - c}V${c}Z`]; }
      case "hexagon": { const c = Math.min(18, height / 2); return [`M${c} 0H${w - c}L${w} ${height / 2}L${w - c} ${height}H${c}L0 ${height / 2}Z`]; }
      case "note": return [`M0 0H${w - 10}L${w} 10V${height}H0Z`, `M${w - 10} 0V10H${w}`];
      default: return [`M${r} 0H${w - r}A${r} ${r} 0 0 1 ${w} ${r}V${height - r}A${r} ${r} 0 0 1 ${w - r} ${height}H${r}A${r} ${r} 0 0 1 0 ${height - r}V${r}A${r} ${r} 0 0 1 ${r} 0Z`];
    }
  }

  function draw() {
    build();
    const whole = layoutOf(state.within);
    const far = whole.h;
    const spot = (x, y) => { const down = reversed ? far - y : y; return turned ? [down, x] : [x, down]; };
    const rectangle = (x, y, w, height) => {
      const [ax, ay] = spot(x, y), [bx, by] = spot(x + w, y + height);
      return { x: Math.min(ax, bx), y: Math.min(ay, by), w: Math.abs(ax - bx), h: Math.abs(ay - by) };
    };
    const boxLayer = make("g"), linkLayer = make("g"), titleLayer = make("g", { class: "titles", "aria-hidden": "true" }), nodeLayer = make("g");
    const found = new Map();
    const stack = [{ box: state.within, layout: whole, x: 0, y: 0, depth: 0 }];
    while (stack.length) {
      const { layout, x, y, depth } = stack.pop();
      const left = x + layout.dx, top = y + layout.dy;
      for (const [id, place] of layout.made.at) {
        if (id[0] === "i" || id[0] === "o") continue;
        const area = rectangle(left + place.x, top + place.y, place.w, place.h);
        if (layout.open.has(id)) {
          found.set(id, { ...area, element: drawBox(boxLayer, titleLayer, id, area, depth) });
          stack.push({ box: idOf(id), layout: layout.inner.get(id), x: left + place.x, y: top + place.y, depth: depth + 1 });
        } else {
          found.set(id, { ...area, element: drawNode(nodeLayer, id, area) });
        }
      }
      layout.links.forEach((one, number) => {
        const way = layout.made.ways[number];
        const border = depth ? layout.h - layout.dy : layout.made.h, ways = way.points.map(([px, py]) => [px, Math.min(py, border)]);
        if (depth && one.from[0] === "i") ways.unshift([ways[0][0], -layout.dy]);
        if (depth && one.to[0] === "o" && ways[ways.length - 1][1] < border) ways.push([ways[ways.length - 1][0], border]);
        drawLink(linkLayer, one, ways.map(([px, py]) => spot(left + px, top + py)), way.side, layout);
      });
    }
    if (state.within >= 0) drawPorts(linkLayer, whole, spot);
    shown = new Map([...found].sort(([one], [other]) => positionOf(one) - positionOf(other)));
    viewport.replaceChildren(boxLayer, linkLayer, titleLayer, nodeLayer);
    const [fx, fy] = turned ? [whole.h, whole.w] : [whole.w, whole.h];
    frame = state.within >= 0 ? { x: -60, y: -40, w: fx + 120, h: fy + 80 } : { x: 0, y: 0, w: fx, h: fy };
    picture.dataset.nodes = nodeLayer.childElementCount;
    picture.dataset.boxes = boxLayer.childElementCount;
    picture.setAttribute("aria-label", `${page.title || "graph"}: ${nodeLayer.childElementCount} nodes shown of ${nodes.length}. Arrow keys and Tab move, Enter opens, Escape closes.`);
    colour();
    mark();
    legend();
    trail();
  }
  // Boxes come before what is in them.
  function positionOf(key) {
    if (!isBox(key)) return idOf(key);
    const id = idOf(key), inner = state.open.has(id) ? firstOf(id) - 0.5 + paths[id].length * 1e-4 : order[id] + 0.25;
    return inner;
  }
  const firsts = new Map();
  function firstOf(box) {
    if (!firsts.has(box)) {
      const own = childNodes.get(box)[0];
      firsts.set(box, Math.min(own === undefined ? Infinity : own, ...childBoxes.get(box).map(firstOf)));
    }
    return firsts.get(box);
  }

  function drawBox(layer, titles, key, area, depth) {
    const box = boxes[idOf(key)];
    const element = make("g", {
      class: `box ${box.kind} d-${Math.min(depth, 2)}${box.backward ? " backward" : ""}${box.mark ? ` m-${box.mark}` : ""}`, id: key, role: "button", tabindex: "-1",
      "aria-expanded": "true", "aria-label": `${box.title}, open. ${kindOf(key)}`, transform: `translate(${area.x} ${area.y})`,
    });
    const title = make("text", { x: fixed1(area.x + 12), y: fixed1(area.y + 20), class: `d-${Math.min(depth, 2)}${box.backward ? " backward" : ""}` });
    title.textContent = box.title;
    titles.append(title); // above the links
    element.append(make("rect", { width: area.w, height: area.h, rx: 12 }), sign(area.w - 18, 16, false));
    layer.append(element);
    return element;
  }
  function sign(x, y, plus) {
    const element = make("g", { class: "sign", transform: `translate(${x} ${y})`, "aria-hidden": "true" });
    element.append(make("circle", { r: 8.5 }), make("path", { d: plus ? "M-4 0H4M0 -4V4" : "M-4 0H4" }));
    return element;
  }

  function drawNode(layer, key, area) {
    const box = isBox(key) ? boxes[idOf(key)] : null, node = box ? null : nodes[idOf(key)];
    const look = lookOf(key), shape = shapeOf(key), marked = !box && node.mark;
    const lines = linesOf(key);
    const element = make("g", {
      class: `node k-${look}${box ? " closed" : ""}${marked ? ` k-marked m-${node.mark}` : ""}`, id: key, role: "button", tabindex: "-1",
      "aria-expanded": box ? "false" : undefined, "aria-label": `${lines.map((line) => (line[4] ? `${line[4]} = ${line[1]}` : line[1])).join(", ")}. ${kindOf(key)}`,
      transform: `translate(${area.x} ${area.y})`,
    });
    const [d, front] = outline(shape, area.w, area.h);
    element.append(make("path", { class: "ring", d: outline(shape === "cylinder" ? "box" : shape, area.w + 10, area.h + 10)[0], transform: "translate(-5 -5)" }));
    if (box && shape === "box3d") {
      for (const far of box.count > 1 ? [8, 4] : [4]) element.append(make("path", { class: "shape behind", d, transform: `translate(${far} ${far})` }));
    }
    if (marked && (node.mark === "wrong" || node.mark === "origin")) element.append(make("path", { class: "shape outer", d: outline(shape, area.w + 9, area.h + 9)[0], transform: "translate(-4.5 -4.5)" }));
    element.append(make("path", { class: "shape", d }));
    if (front) element.append(make("path", { class: "shape front", d: front }));
    const tall = lines.reduce((sum, [, , size]) => sum + lineHeight(size), 0);
    let y = (area.h - tall) / 2 + (shape === "cylinder" ? 3 : 0);
    for (const [kind, text, size, , variable] of lines) {
      y += lineHeight(size);
      const line = make("text", { class: kind, x: area.w / 2, y: y - 5 });
      if (variable) { const name = make("tspan", { class: "variable" }); name.textContent = `${variable} = `; line.append(name); }
      const rest = make("tspan");
      rest.textContent = text;
      line.append(rest);
      element.append(line);
    }
    if (box) {
      element.append(sign(area.w - 3, area.h / 2, true));
      if (box.mark && page.marks[box.mark]) {
        const badge = make("g", { class: `badge m-${box.mark}`, transform: "translate(2 2)" }), text = make("text", { "text-anchor": "middle", y: 4 });
        text.textContent = page.marks[box.mark][0];
        badge.append(make("circle", { r: 10 }), text);
        element.append(badge);
      }
    }
    layer.append(element);
    return element;
  }

  function kindOf(key) {
    if (!isBox(key)) {
      const mark = nodes[idOf(key)].mark;
      return (page.kinds[words(idOf(key)).kind] || "") + (mark && page.marks[mark] ? `, ${page.marks[mark][1]}` : "");
    }
    const box = boxes[idOf(key)];
    return { module: box.backward ? "gradients of a module" : "module", composite: "composite operation", function: "user's Function", backward: "derivative rule", repeat: "equal neighbours", phase: "part of a compiled step", part: "part of a long chain" }[box.kind];
  }

  function drawLink(layer, one, points, side, layout) {
    const first = edges[one.edges[0]], source = nodes[first.source];
    const width = Math.max(...one.edges.map((number) => page.widths[number])), mark = one.edges.map((number) => edges[number].mark).find(Boolean);
    let kind = "";
    if (mark) kind = `marked m-${mark}`;
    else if (source.kind === "parameter" || source.kind === "buffer") kind = "parameter";
    else if (source.kind === "constant") kind = "untracked";
    else if (source.backward) kind = "gradient";
    if (!mark && !source.backward && nodes[first.target].backward) kind += " saved";
    const ends = !(one.to[0] === "o" || layout.open.has(one.to));
    const size = 6 + width, last = points.length - 1;
    let [ex, ey] = points[last], along;
    if (side) {
      const [px, py] = points[0], length = Math.hypot(ex - px, ey - py) || 1;
      along = [(ex - px) / length, (ey - py) / length];
    } else along = turned ? [reversed ? -1 : 1, 0] : [0, reversed ? -1 : 1];
    const tip = [ex, ey];
    if (ends) points[last] = [ex - along[0] * size * 0.8, ey - along[1] * size * 0.8];
    let d = `M${fixed(points[0])}`;
    for (let at = 1; at < points.length; at++) {
      const [px, py] = points[at - 1], [qx, qy] = points[at];
      if (side || (turned ? py === qy : px === qx)) d += `L${fixed([qx, qy])}`;
      else if (turned) d += `C${fixed([(px + qx) / 2, py])} ${fixed([(px + qx) / 2, qy])} ${fixed([qx, qy])}`;
      else d += `C${fixed([px, (py + qy) / 2])} ${fixed([qx, (py + qy) / 2])} ${fixed([qx, qy])}`;
    }
    const path = make("path", { class: `link ${kind}`, d, "stroke-width": width });
    path.edges = one.edges;
    layer.append(path);
    if (ends) {
      const [ax, ay] = along, wide = size * 0.48;
      const arrow = make("path", { class: `tip ${kind}`, d: `M${fixed(tip)}L${fixed([tip[0] - ax * size - ay * wide, tip[1] - ay * size + ax * wide])}L${fixed([tip[0] - ax * size + ay * wide, tip[1] - ay * size - ax * wide])}Z` });
      arrow.edges = one.edges;
      layer.append(arrow);
      const unclear = one.edges.find((number) => saidInFull.has(number));
      if (unclear !== undefined && !side && valueOf(edges[unclear])) {
        const leftward = !turned && points[0][0] < tip[0] - 4;
        const text = make("text", { class: "label", x: fixed1(tip[0] + (leftward ? -7 : 7)), y: fixed1(tip[1] - (reversed && !turned ? -14 : 11)), "text-anchor": leftward ? "end" : "start" });
        text.textContent = valueText(valueOf(edges[unclear]));
        layer.append(text);
      }
    }
  }
  function fixed1(number) { return Math.round(number * 10) / 10; }
  function fixed([x, y]) { return `${fixed1(x)} ${fixed1(y)}`; }

  // Where data come into, and leave, the module that fills the picture.
  function drawPorts(layer, whole, spot) {
    for (const [ports, y, out] of [[whole.made.ins, 0, false], [whole.made.outs, whole.made.h, true]]) {
      let place = 0;
      for (const [port, x] of ports) {
        const kept = port === "kept", key = `n${port.split(":")[0]}`;
        const [px, py] = spot(x, y), lift = 8 + (place++ % 3) * 14, away = (out ? 1 : -1) * (reversed ? -1 : 1);
        const text = make("text", { class: "port", x: px + (turned ? away * 30 : 0), y: py + (turned ? 4 : away * lift + (away > 0 ? 8 : 0)), role: kept ? undefined : "link", tabindex: kept ? undefined : "0" });
        text.textContent = kept ? (out ? "kept for gradients" : "kept values") : out ? "out" : `from ${nameOf(key)}`;
        layer.append(text);
        if (kept) continue;
        text.addEventListener("click", () => jump(key));
        text.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.stopPropagation(); jump(key); } });
      }
    }
  }

  // ---------------------------------------------------------------- colours

  function isDark() { return root.dataset.theme === "dark"; }
  function colour() {
    const scale = page.measures[state.colorBy];
    for (const [key, { element }] of shown) {
      let number;
      if (state.colorBy && isBox(key)) number = state.open.has(idOf(key)) ? undefined : (boxes[idOf(key)].sums || {})[state.colorBy];
      else if (state.colorBy) number = ((nodes[idOf(key)].measures || []).find(([name]) => name === state.colorBy) || [])[1];
      if (number === undefined || (!isBox(key) && nodes[idOf(key)].mark)) {
        for (const name of ["--fill", "--ink", "--soft"]) element.style.removeProperty(name);
        continue;
      }
      const [fill, ink] = shade(scale, Number(number === "inf" ? Infinity : number === "-inf" ? -Infinity : number));
      element.style.setProperty("--fill", fill);
      element.style.setProperty("--ink", ink);
      element.style.setProperty("--soft", ink);
    }
  }
  function shade(scale, number) {
    const shades = page.measures[""][isDark() ? "dark" : "light"][scale.signed ? 1 : 0];
    let at = 1;
    if (number <= scale.low) at = 0;
    else if (number < scale.high) at = scale.log ? Math.log(number / scale.low) / Math.log(scale.high / scale.low) : (number - scale.low) / (scale.high - scale.low);
    return shades[Math.round(at * (shades.length - 1))];
  }
  function setTheme(name) {
    root.dataset.theme = name;
    colour();
    legend();
    $("theme").textContent = name === "dark" ? "Light" : "Dark";
  }

  function legend() {
    const entries = $("entries");
    entries.replaceChildren();
    const kinds = new Set(), marks = new Set();
    let saved = false;
    for (const key of shown.keys()) {
      if (!isBox(key)) { kinds.add(words(idOf(key)).kind); if (nodes[idOf(key)].mark) marks.add(nodes[idOf(key)].mark); }
      else if (!state.open.has(idOf(key))) { kinds.add(lookOf(key)); if (boxes[idOf(key)].mark) marks.add(boxes[idOf(key)].mark); }
    }
    saved = !!viewport.querySelector(".link.saved");
    const swatch = (cls, shape) => {
      const svg = make("svg", { viewBox: "-1 -1 28 19", "aria-hidden": "true" }), group = make("g", { class: cls });
      const [d, front] = outline(shape, 26, 17, 5);
      if (shape === "box3d") group.append(make("path", { class: "shape behind", d: outline("box", 22, 13, 4)[0], transform: "translate(4 4)" }), make("path", { class: "shape", d: outline("box", 22, 13, 4)[0] }));
      else group.append(make("path", { class: "shape", d }));
      if (front) group.append(make("path", { class: "shape front", d: front }));
      svg.append(group);
      return svg;
    };
    for (const [kind, text] of Object.entries(page.kinds)) {
      if (kinds.has(kind)) entries.append(h("span", { class: "entry" }, swatch(`k-${kind}`, page.shapes[kind] || "box"), kind === "module" ? "closed: press + to open" : text));
    }
    for (const [mark, [symbol, text]] of Object.entries(page.marks)) {
      if (marks.has(mark)) entries.append(h("span", { class: "entry" }, swatch(`k-marked m-${mark}`, "box"), `${symbol} ${text}`));
    }
    if (saved) entries.append(h("span", { class: "entry" }, "dashed: kept for the gradient"));
    const scale = page.measures[state.colorBy];
    if (state.colorBy && scale) {
      const ramp = h("span", { class: "ramp", "aria-hidden": "true" });
      for (const [fill] of page.measures[""][isDark() ? "dark" : "light"][scale.signed ? 1 : 0]) { const cell = h("i"); cell.style.background = fill; ramp.append(cell); }
      entries.append(h("span", { class: "entry" }, `${scale.name}${scale.log ? " (log)" : ""}: ${scale.ends[0]}`, ramp, scale.ends[1]));
    }
  }

  function trail() {
    const path = state.within < 0 ? [] : paths[state.within], parts = [];
    const whole = data.name || page.title || "graph";
    if (!path.length) { $("trail").replaceChildren(); return; }
    parts.push(h("button", { type: "button", click: () => enter(-1) }, whole));
    path.forEach((box, at) => {
      parts.push("›");
      parts.push(at === path.length - 1 ? h("span", { "aria-current": "location" }, boxes[box].title) : h("button", { type: "button", click: () => enter(box) }, boxes[box].title));
    });
    $("trail").replaceChildren(...parts);
  }

  // ---------------------------------------------------------------- the window onto the picture

  const view = { x: 0, y: 0, k: 1 };
  let motion = 0;
  function put() {
    viewport.setAttribute("transform", `translate(${fixed1(view.x)} ${fixed1(view.y)}) scale(${Math.round(view.k * 1e4) / 1e4})`);
    picture.classList.toggle("far", view.k < 0.35);
  }
  function go(x, y, k, smooth = true) {
    cancelAnimationFrame(motion);
    const from = { ...view }, start = performance.now(), time = 200;
    picture.dataset.moving = "no";
    if (!smooth || calm.matches || document.hidden) { Object.assign(view, { x, y, k }); put(); return; }
    picture.dataset.moving = "yes";
    const step = (now) => {
      const t = Math.min(1, (now - start) / time), s = t * (2 - t);
      Object.assign(view, { x: from.x + (x - from.x) * s, y: from.y + (y - from.y) * s, k: from.k * (k / from.k) ** s });
      put();
      if (t < 1) motion = requestAnimationFrame(step);
      else picture.dataset.moving = "no";
    };
    motion = requestAnimationFrame(step);
  }
  function room() {
    const area = picture.getBoundingClientRect();
    return { w: area.width || 800, h: area.height || 600, x: area.x, y: area.y };
  }
  function fit(smooth = true) {
    const { w, h: high } = room();
    const k = Math.min(1.4, (w - 40) / frame.w, (high - 36) / frame.h);
    // What would be too small to read starts at its beginning instead.
    const scale = k >= 0.5 ? k : Math.max(k, Math.min(0.6, (w - 40) / frame.w), 0.02);
    const x = (w - frame.w * scale) / 2 - frame.x * scale;
    const top = (high - frame.h * scale) / 2;
    const y = top > 14 ? top : reversed && !turned ? high - frame.h * scale - 14 : 16;
    go(frame.w * scale > w ? 20 - frame.x * scale : x, y - frame.y * scale, scale, smooth);
  }
  function zoom(factor, x, y, smooth = true) {
    const { w, h: high } = room(), k = Math.min(6, Math.max(0.02, view.k * factor));
    const cx = x === undefined ? w / 2 : x, cy = y === undefined ? high / 2 : y;
    go(cx - (cx - view.x) * (k / view.k), cy - (cy - view.y) * (k / view.k), k, smooth);
  }
  function see(key, center = false) {
    const place = shown.get(key);
    if (!place) return;
    const { w, h: high } = room(), k = center ? Math.max(view.k, 0.7) : view.k;
    const left = place.x * k + view.x, top = place.y * k + view.y, right = left + place.w * k, bottom = top + place.h * k;
    if (center || place.w * k > w || place.h * k > high) {
      // In the middle; what is larger than the window is seen from its start.
      const along = (at, size, window) => (size * k > window - 60 ? 30 - at * k : window / 2 - (at + size / 2) * k);
      go(along(place.x, place.w, w), along(place.y, place.h, high), k);
      return;
    }
    const dx = left < 30 ? 30 - left : right > w - 30 ? w - 30 - right : 0, dy = top < 30 ? 30 - top : bottom > high - 30 ? high - 30 - bottom : 0;
    if (dx || dy) go(view.x + dx, view.y + dy, k);
  }

  const fingers = new Map();
  let dragged = false, pinch = 0, pressed = null;
  picture.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size === 1) { dragged = false; pressed = [event.clientX, event.clientY]; }
    pinch = 0;
  });
  addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY];
    fingers.set(event.pointerId, now);
    if (fingers.size === 2) {
      const [one, other] = [...fingers.values()], apart = Math.hypot(one[0] - other[0], one[1] - other[1]), area = room();
      if (pinch) zoom(apart / pinch, (one[0] + other[0]) / 2 - area.x, (one[1] + other[1]) / 2 - area.y, false);
      pinch = apart;
      dragged = true;
      return;
    }
    if (!dragged && Math.hypot(now[0] - pressed[0], now[1] - pressed[1]) < 4) return;
    dragged = true;
    picture.classList.add("dragged");
    go(view.x + now[0] - last[0], view.y + now[1] - last[1], view.k, false);
  });
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, (event) => { fingers.delete(event.pointerId); pinch = 0; picture.classList.remove("dragged"); });
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    const area = room(), turn = event.deltaY * (event.deltaMode === 1 ? 18 : 1);
    zoom(Math.exp(-turn * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX - area.x, event.clientY - area.y, false);
  }, { passive: false });
  picture.addEventListener("click", (event) => {
    if (dragged) return;
    const element = event.target.closest(".node, .box");
    if (event.target.closest(".port")) return;
    if (!element) { select(null); return; }
    if (event.target.closest(".sign")) toggle(idOf(element.id));
    else { select(element.id); element.focus({ preventScroll: true }); }
  });
  picture.addEventListener("dblclick", (event) => {
    const element = event.target.closest(".node.closed, .box");
    if (element && !event.target.closest(".sign")) toggle(idOf(element.id));
  });

  // ---------------------------------------------------------------- opening and closing

  // Redrawn, with something staying where it was on the screen.
  function redraw(anchor) {
    const held = anchor && shown.get(anchor), was = held && [held.x * view.k + view.x, held.y * view.k + view.y];
    draw();
    const now = anchor && shown.get(anchor);
    cancelAnimationFrame(motion);
    picture.dataset.moving = "no";
    if (held && now) { view.x = was[0] - now.x * view.k; view.y = was[1] - now.y * view.k; }
    put();
  }
  function say(text) { $("said").textContent = text; }
  function toggle(box, focus = true) {
    const opening = !state.open.has(box), key = `b${box}`;
    if (opening) state.open.add(box);
    else state.open.delete(box);
    redraw(key);
    select(key);
    if (focus) focusOn(key);
    if (opening && childBoxes.get(box).length + childNodes.get(box).length) see(key);
    say(`${boxes[box].title} is ${opening ? "open" : "closed"}; ${picture.dataset.nodes} nodes are shown`);
  }
  function enter(box) {
    state.within = box;
    if (box >= 0) state.open.add(box);
    draw();
    fit(false);
    const first = shown.keys().next().value;
    select(state.selected && shown.has(state.selected) ? state.selected : first || null);
    say(box < 0 ? "the whole graph" : `inside ${boxes[box].title}`);
  }
  // Opens what is around a node or a box, so that it can be seen.
  function reveal(key) {
    const around = pathOf(parentOf(key));
    if (state.within >= 0 && !around.includes(state.within)) state.within = -1;
    for (const box of around) state.open.add(box);
    if (shown.has(key) && shown.get(key).element.isConnected) return;
    redraw();
  }
  function jump(key) {
    reveal(key);
    select(key);
    see(key, true);
    focusOn(key);
  }
  function shownBoxes(open) { return [...shown.keys()].filter((key) => isBox(key) && state.open.has(idOf(key)) === open).map(idOf); }
  function more() {
    const closed = shownBoxes(false), real = closed.filter((box) => boxes[box].kind === "module");
    const depths = (real.length ? real : closed).map((box) => paths[box].length), least = Math.min(...depths);
    const chosen = (real.length ? real : closed).filter((box) => paths[box].length === least);
    if (!chosen.length) { say("everything is open"); return; }
    for (const box of chosen) state.open.add(box);
    redraw(state.selected && shown.has(state.selected) ? state.selected : undefined);
    refit();
  }
  function less() {
    const open = shownBoxes(true);
    if (!open.length) { say("everything is closed"); return; }
    const most = Math.max(...open.map((box) => paths[box].length));
    for (const box of open) if (paths[box].length === most) state.open.delete(box);
    if (state.selected) while (state.selected && !visible(state.selected)) { const parent = parentOf(state.selected); state.selected = parent < 0 ? null : `b${parent}`; }
    redraw();
    select(state.selected);
    refit();
  }
  function visible(key) { return pathOf(parentOf(key)).every((box) => state.open.has(box) || (state.within >= 0 && paths[state.within].includes(box))); }
  function refit() { fit(); say(`${picture.dataset.nodes} nodes are shown`); }

  // ---------------------------------------------------------------- selection and keys

  function select(key) {
    state.selected = key && shown.has(key) ? key : null;
    mark();
    details();
    try { history.replaceState(null, "", state.selected ? `#${state.selected}` : "#"); } catch { /* a page inside another may not */ }
  }
  function mark() {
    const hits = new Set();
    for (const key of state.hits) {
      hits.add(key);
      for (const box of pathOf(parentOf(key))) if (!state.open.has(box)) hits.add(`b${box}`);
    }
    const tab = state.selected && shown.has(state.selected) ? state.selected : shown.keys().next().value;
    for (const [key, { element }] of shown) {
      element.classList.toggle("selected", key === state.selected);
      element.classList.toggle("hit", hits.has(key));
      element.setAttribute("tabindex", key === tab ? "0" : "-1");
    }
    const own = state.selected && !isBox(state.selected) ? idOf(state.selected) : -1;
    for (const element of viewport.children[1] ? viewport.children[1].children : []) {
      if (element.edges) element.classList.toggle("lit", own >= 0 && element.edges.some((number) => edges[number].source === own || edges[number].target === own));
    }
  }
  function focusOn(key) { if (shown.has(key)) shown.get(key).element.focus({ preventScroll: true }); }
  function step(key) { select(key); focusOn(key); see(key); }

  // The nearest in a direction: straight ahead counts more than beside.
  function neighbour(key, dx, dy) {
    const from = shown.get(key), inside = isBox(key) && state.open.has(idOf(key));
    const centre = (place) => [place.x + place.w / 2, place.y + place.h / 2];
    const [x, y] = inside ? [from.x + from.w / 2, dy > 0 ? from.y + 12 : from.y + from.h / 2] : centre(from);
    let best = null, least = Infinity;
    for (const [other, place] of shown) {
      if (other === key || (isBox(other) && state.open.has(idOf(other)))) continue;
      const [ox, oy] = centre(place), ahead = (ox - x) * dx + (oy - y) * dy;
      if (ahead < 6) continue;
      const aside = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx), distance = ahead + 2.5 * Math.max(0, aside - (dx ? place.h : place.w) / 3);
      if (distance < least) { least = distance; best = other; }
    }
    return best;
  }
  const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  picture.addEventListener("focusin", (event) => {
    const element = event.target.closest(".node, .box");
    if (element && element.id !== state.selected && event.target.matches(":focus-visible")) { select(element.id); see(element.id); }
  });
  picture.addEventListener("keydown", (event) => {
    const key = state.selected, arrow = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow && (event.shiftKey || !key)) go(view.x - arrow[0] * 80, view.y - arrow[1] * 80, view.k, false);
    else if (arrow) { const next = neighbour(key, ...arrow); if (next) step(next); }
    else if (event.key === "Tab" && key) {
      const keys = [...shown.keys()], next = keys[keys.indexOf(key) + (event.shiftKey ? -1 : 1)];
      if (!next || event.target.matches(".port")) return; // at the end, on to the rest of the page
      step(next);
    } else if ((event.key === "Enter" || event.key === " ") && key) {
      if (event.key === "Enter" && event.shiftKey && isBox(key)) enter(idOf(key));
      else if (isBox(key)) toggle(idOf(key));
      else $("details").focus();
    } else if (event.key === "Home" || event.key === "End") {
      const keys = [...shown.keys()];
      if (keys.length) step(event.key === "Home" ? keys[0] : keys[keys.length - 1]);
    } else return;
    event.preventDefault();
  });
  function escape() {
    if (state.hits.length || $("query").value) { $("query").value = ""; search(""); if (document.activeElement === $("query")) $("query").blur(); return; }
    const key = state.selected;
    if (key && isBox(key) && state.open.has(idOf(key)) && idOf(key) !== state.within) { toggle(idOf(key)); return; }
    const around = key ? parentOf(key) : -1;
    if (key && around >= 0 && around !== state.within) { toggle(around); see(`b${around}`); return; }
    if (state.within >= 0) { const inner = state.within; enter(boxes[inner].parent); step(`b${inner}`); return; }
    select(null);
  }
  addEventListener("keydown", (event) => {
    if ($("keys").open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { $("show").open ? ($("show").open = false) : escape(); return; }
    if (event.target.closest("input, select, textarea")) return;
    const action = { "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), 0: () => fit(), "/": () => $("query").focus(), o: more, c: less, t: () => $("theme").click(), "?": () => $("help").click() }[event.key];
    if (action) { event.preventDefault(); action(); }
  });

  // ---------------------------------------------------------------- search

  let haystack = null;
  function texts() {
    const around = boxes.map((box) => `${box.title} ${box.name || ""} ${box.type || ""}`.toLowerCase());
    const inside = boxes.map((box, id) => paths[id].map((one) => around[one]).join(" "));
    const found = nodes.map((node, id) => {
      const { title, variable } = words(id);
      const own = [title, variable, node.op || "", ...(node.names || []), page.kinds[words(id).kind], node.mark ? (page.marks[node.mark] || [])[1] : ""].join(" ").toLowerCase();
      const rest = [...(node.outputs || []).map(valueText), node.source ? `${node.source.file}:${node.source.line} ${node.source.text || ""}` : "", ...(node.arguments || []).map((pair) => pair.join("="))].join(" ").toLowerCase();
      return { key: `n${id}`, own, rest, around: homes[id] < 0 ? "" : inside[homes[id]] };
    });
    boxes.forEach((box, id) => found.push({ key: `b${id}`, own: around[id], rest: (box.source || "").toLowerCase(), around: box.parent < 0 ? "" : inside[box.parent] }));
    return found.sort((one, other) => searchOrder(one.key) - searchOrder(other.key));
  }
  function searchOrder(key) { return isBox(key) ? firstOf(idOf(key)) - 0.5 + paths[idOf(key)].length * 1e-4 : idOf(key); }
  function search(text) {
    haystack = haystack || texts();
    const terms = text.toLowerCase().replace(/(\d)x(?=\d)/g, "$1×").split(/\s+/).filter(Boolean);
    const ranks = [[], [], []];
    if (terms.length) {
      for (const one of haystack) {
        if (terms.every((term) => one.own.includes(term))) ranks[0].push(one.key);
        else if (terms.every((term) => one.own.includes(term) || one.rest.includes(term))) ranks[1].push(one.key);
        else if (terms.every((term) => one.own.includes(term) || one.rest.includes(term) || one.around.includes(term))) ranks[2].push(one.key);
      }
    }
    state.hits = ranks.flat();
    state.hit = -1;
    $("previous").disabled = $("next").disabled = !state.hits.length;
    $("found").textContent = terms.length ? (state.hits.length ? `${state.hits.length} found` : "none") : "";
    mark();
  }
  function find(direction) {
    if (!state.hits.length) return;
    state.hit = (state.hit + direction + state.hits.length + (state.hit < 0 && direction < 0 ? 1 : 0)) % state.hits.length;
    const key = state.hits[state.hit], where = document.activeElement;
    reveal(key);
    select(key);
    see(key, true);
    if (where === $("query")) where.focus();
    $("found").textContent = `${state.hit + 1} of ${state.hits.length}`;
    say(`${$("found").textContent}: ${nameOf(key)}`);
  }
  let waiting = 0;
  function searchNow() { clearTimeout(waiting); waiting = 0; search($("query").value); }
  $("query").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(searchNow, nodes.length > 5000 ? 250 : 1); });
  $("query").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (waiting) searchNow();
    find(event.shiftKey ? -1 : 1);
  });
  $("next").addEventListener("click", () => find(1));
  $("previous").addEventListener("click", () => find(-1));

  // ---------------------------------------------------------------- details

  function jumpLink(key, as, note) {
    return h("li", {}, h("span", { class: "as" }, as || ""), h("span", {}, h("button", { type: "button", "data-key": key, click: () => jump(key) }, nameOf(key)), h("small", {}, note ? ` ${note}` : "")));
  }
  function list(title, entries) {
    if (!entries.length) return [];
    const shownEntries = entries.slice(0, 60), items = h("ul", { class: "links" }, ...shownEntries.map((entry) => jumpLink(...entry)));
    if (entries.length > 60) items.append(h("li", {}, `… and ${entries.length - 60} more`));
    return [h("h3", {}, title), items];
  }
  function pairs(rows) {
    const table = h("dl");
    for (const [name, value] of rows) if (value !== "" && value !== null && value !== undefined) table.append(h("dt", {}, name), h("dd", {}, value));
    return table.childElementCount ? table : null;
  }
  function pathLinks(home) {
    const line = h("span");
    pathOf(home).forEach((box, at) => { if (at) line.append(" › "); line.append(h("button", { type: "button", click: () => jump(`b${box}`) }, boxes[box].title)); });
    return line.childNodes.length ? h("p", { class: "links" }, line) : null;
  }
  function histogram(one) {
    const w = 300, tall = 84, most = Math.max(1, ...one.counts), step = w / one.counts.length, gradient = one.of !== "values";
    const number = (value) => (typeof value === "number" ? Number(value.toPrecision(3)).toString().replace("-", "−").replace("e+", "e") : String(value));
    const total = one.counts.reduce((sum, count) => sum + count, 0);
    const svg = make("svg", { class: "bars", viewBox: `0 0 ${w} ${tall + 18}`, role: "img", "aria-label": `histogram of ${one.of}: ${total} numbers from ${number(one.low)} to ${number(one.high)}` });
    one.counts.forEach((count, at) => {
      const high = (count / most) * tall;
      const bar = make("rect", { class: gradient ? "gradient" : "values", x: fixed1(at * step + 0.5), y: fixed1(tall - Math.max(high, count ? 1 : 0)), width: fixed1(Math.max(step - 1, 0.6)), height: fixed1(Math.max(high, count ? 1 : 0)) });
      const tip = make("title");
      tip.textContent = count.toLocaleString("en");
      bar.append(tip);
      svg.append(bar);
    });
    svg.append(make("line", { x1: 0, x2: w, y1: tall + 0.5, y2: tall + 0.5 }));
    if (one.low < 0 && one.high > 0) { const zero = (-one.low / (one.high - one.low)) * w; svg.append(make("line", { x1: zero, x2: zero, y1: tall, y2: tall + 5 })); }
    for (const [text, x, anchor] of [[number(one.low), 0, "start"], [number(one.high), w, "end"]]) { const label = make("text", { x, y: tall + 15, "text-anchor": anchor }); label.textContent = text; svg.append(label); }
    return [h("h3", {}, gradient ? "Gradient" : "Values"), svg];
  }
  function details() {
    const panel = $("details"), key = state.selected;
    panel.replaceChildren(...(key === null ? overview() : isBox(key) ? boxDetails(idOf(key)) : nodeDetails(idOf(key))).filter(Boolean));
    panel.scrollTop = 0;
  }
  function overview() {
    const count = (kinds) => nodes.filter((node) => kinds.includes(node.kind)).length.toLocaleString("en");
    const marked = nodes.filter((node) => node.mark).map((node) => [`n${node.id}`, "", (page.marks[node.mark] || [])[1]]);
    return [
      h("h2", {}, page.title || "Graph"),
      pairs([["operations", nodes.reduce((sum, node) => sum + (node.op ? node.inside || node.count || 1 : 0), 0).toLocaleString("en")], ["parameters", count(["parameter"])], ["inputs", count(["input"])], ["modules", modules.filter((module) => module.kind === "module").length.toLocaleString("en")], ["edges", edges.length.toLocaleString("en")]]),
      h("p", { class: "kind" }, "Press a node for its details, + to open a module, − to close it. / searches, ? lists the keys."),
      ...list("Marked", marked),
    ];
  }
  function nodeDetails(id) {
    const node = nodes[id], { kind, title, variable, measured } = words(id), [formula, gradient] = page.formulas[node.op] || ["", ""];
    const names = (node.names || []).filter((name) => name !== title), made = node.outputs || [];
    const reads = incoming[id].map((number) => edges[number]), readers = outgoing[id].map((number) => edges[number]);
    const links = (some, end) => some.map((edge) => [`n${edge[end]}`, end === "source" ? edge.name || "" : "", valueOf(edge) ? valueText(valueOf(edge)) : ""]);
    return [
      h("h2", {}, variable ? `${variable} = ${title}` : title),
      h("p", { class: "kind" }, page.kinds[kind] + (node.count > 1 ? ` ×${node.count}` : "")),
      node.mark ? h("div", { class: `remark m-${node.mark}` }, h("strong", {}, `${page.marks[node.mark] ? page.marks[node.mark].join(" ") : node.mark}`), node.remark ? h("div", {}, node.remark) : null) : null,
      pairs([
        [names.length > 1 ? "names" : "name", names.join(", ")],
        ["operation", node.op || ""],
        ["formula", formula ? h("span", { class: "formula" }, formula) : ""],
        ["gradient", gradient && !node.backward ? h("span", { class: "formula" }, gradient) : ""],
        ...(node.arguments || []).map(([name, value]) => [name, value]),
        ...made.flatMap((value, at) => [[made.length > 1 ? `output ${at}` : "shape", shapeText(value.shape)], ["dtype", value.dtype], ["bytes", bytesOf(value).toLocaleString("en")]]),
        ["inside", node.inside > 1 ? `${node.inside.toLocaleString("en")} operations` : ""],
        ["tracked", node.op || node.tracked ? (node.tracked ? "a gradient flows back through it" : "no gradient") : ""],
      ]),
      ...(node.source ? [h("h3", {}, "Line"), h("p", { class: "kind" }, `${node.source.file}:${node.source.line}`), node.source.text ? h("div", { class: "line code" }, node.source.text) : null] : []),
      ...(homes[id] >= 0 ? [h("h3", {}, "Module"), pathLinks(homes[id])] : []),
      ...((node.measures || []).length ? [h("h3", {}, "Measured"), pairs(node.measures.map(([name], at) => [name, measured[at]]))] : []),
      ...(node.histograms || []).flatMap(histogram),
      ...list("Inputs", links(reads, "source")),
      ...list("Read by", links(readers, "target")),
      ...(node.belongs_to !== undefined && node.belongs_to !== null ? list("Gradient of", [[`n${node.belongs_to}`, "", ""]]) : []),
      ...list("Its gradients", (gradients.get(id) || []).map((one) => [`n${one}`, "", ""])),
    ];
  }
  function boxDetails(id) {
    const box = boxes[id], open = state.open.has(id), inside = (node) => pathOf(homes[node]).includes(id), once = (some) => [...new Map(some.map((entry) => [entry[0] + entry[2], entry])).values()];
    const into = edges.filter((edge) => inside(edge.target) && !inside(edge.source)), out = edges.filter((edge) => inside(edge.source) && !inside(edge.target));
    const parts = [...childBoxes.get(id).map((one) => [`b${one}`, order[one]]), ...childNodes.get(id).map((one) => [`n${one}`, one])].sort((one, other) => one[1] - other[1]);
    return [
      h("h2", {}, box.title),
      h("p", { class: "kind" }, kindOf(`b${id}`)),
      h("div", { class: "buttons" },
        id === state.within ? null : h("button", { type: "button", id: "toggle", click: () => toggle(id) }, open ? "Close" : "Open here"),
        id === state.within ? h("button", { type: "button", click: () => enter(box.parent) }, "Back out") : h("button", { type: "button", id: "enter", click: () => enter(id) }, "Show only its inside")),
      box.mark ? h("div", { class: `remark m-${box.mark}` }, h("strong", {}, `inside: ${(page.marks[box.mark] || [box.mark]).join(" ")}`)) : null,
      pairs([["name", box.kind === "part" ? "" : box.name || ""], ["operations of", box.kind === "part" ? box.name || "" : ""], ["type", box.type || ""], ...(box.rows || []), ["gives", box.note || ""]]),
      ...(box.source ? [h("h3", {}, "Called at"), h("div", { class: "line code" }, box.source)] : []),
      ...(box.parent >= 0 ? [h("h3", {}, "Module"), pathLinks(box.parent)] : []),
      ...list("Inputs", once(into.map((edge) => [`n${edge.source}`, "", valueOf(edge) ? valueText(valueOf(edge)) : ""]))),
      ...list("Read by", once(out.map((edge) => [`n${edge.target}`, "", valueOf(edge) ? valueText(valueOf(edge)) : ""]))),
      ...list("Inside", parts.map(([key]) => [key, "", ""])),
    ];
  }

  // ---------------------------------------------------------------- the bar

  function choices() {
    const rows = [];
    for (const [name, kinds] of Object.entries(ARRAYS)) {
      if (!nodes.some((node) => kinds.includes(node.kind))) continue;
      const box = h("input", { type: "checkbox", id: `show-${name}`, checked: true });
      box.addEventListener("change", () => { box.checked ? state.hidden.delete(name) : state.hidden.add(name); redraw(); select(state.selected); refit(); });
      rows.push(h("label", {}, box, name));
    }
    const measures = Object.keys(page.measures).filter(Boolean);
    if (measures.length) {
      const choice = h("select", { id: "color-by" }, h("option", { value: "" }, "kind"), ...measures.map((name) => h("option", { value: name }, page.measures[name].name)));
      choice.value = state.colorBy;
      choice.addEventListener("change", () => { state.colorBy = choice.value; redraw(state.selected || undefined); select(state.selected); });
      rows.push(h("label", {}, "Colour by", choice));
    }
    $("choices").replaceChildren(...(rows.length ? rows : [h("span", {}, "nothing to choose")]));
  }
  function help() {
    const keys = [["Arrows", "to the nearest node in that direction"], ["Tab, Shift+Tab", "to the next or previous node"], ["Enter", "open or close a module; on a node, its details"], ["Shift+Enter", "show only the inside of a module"], ["Escape", "end the search; close the module around; back out"], ["o, c", "open or close one level of modules"], ["/", "search; Enter and Shift+Enter step through what is found"], ["+, −, 0", "zoom in, out, fit all"], ["Shift+Arrows", "move the picture"], ["t", "light or dark"]];
    $("keys").replaceChildren(h("h2", { id: "keys-title" }, "Keys"), h("dl", {}, ...keys.flatMap(([key, what]) => [h("dt", {}, key), h("dd", {}, what)])), h("p", {}, "The mouse: drag moves, the wheel zooms, a press on a node shows its details, + and − (or a double press) open and close modules."), h("button", { type: "button", click: () => $("keys").close() }, "Close"));
    $("keys").showModal();
  }
  $("in").addEventListener("click", () => zoom(1.3));
  $("out").addEventListener("click", () => zoom(1 / 1.3));
  $("fit").addEventListener("click", () => fit());
  $("more").addEventListener("click", more);
  $("less").addEventListener("click", less);
  $("help").addEventListener("click", help);
  $("theme").addEventListener("click", () => { chosen = true; setTheme(isDark() ? "light" : "dark"); });
  $("skip").addEventListener("click", (event) => { event.preventDefault(); $("details").focus(); });
  addEventListener("click", (event) => { if (!event.target.closest("#show")) $("show").open = false; });
  let chosen = page.theme !== "auto";
  dark.addEventListener("change", () => { if (!chosen) setTheme(dark.matches ? "dark" : "light"); });
  addEventListener("hashchange", () => { const key = fromAddress(); if (key && key !== state.selected) jump(key); });
  function fromAddress() {
    const key = location.hash.slice(1);
    if (!/^[nb]\d+$/.test(key)) return null;
    return idOf(key) < (isBox(key) ? boxes : nodes).length ? key : null;
  }

  // On paper: all that is shown, on one page, in light colours.
  let onScreen = null;
  addEventListener("beforeprint", () => {
    onScreen = { theme: root.dataset.theme };
    setTheme("light");
    picture.setAttribute("viewBox", `${frame.x - 12} ${frame.y - 12} ${frame.w + 24} ${frame.h + 24}`);
    viewport.removeAttribute("transform");
    $("legend").open = page.legend;
  });
  addEventListener("afterprint", () => {
    if (!onScreen) return;
    setTheme(onScreen.theme);
    picture.removeAttribute("viewBox");
    put();
    onScreen = null;
  });

  // ---------------------------------------------------------------- the start

  $("title").textContent = page.title || "Graph";
  $("caption").textContent = page.caption;
  $("legend").hidden = !page.legend;
  if (page.notice) { $("notice").textContent = page.notice; $("notice").hidden = false; }
  root.dataset.theme = page.theme === "auto" ? (dark.matches ? "dark" : "light") : page.theme;
  choices();
  draw();
  setTheme(root.dataset.theme);
  fit(false);
  const asked = fromAddress();
  if (asked) jump(asked);
  else details();
  if (innerWidth < 760) $("legend").open = false;
  root.dataset.ready = "true";
})();
