"use strict";
// One level of a graph: where its items stand, and the ways of the links between them. Data flow down here; who draws
// turns the picture. Each level is laid out by itself, so that opening one module leaves the inside of others as it was.
const Levels = (() => {
  const ACROSS = 26, RANK = 36, BESIDE = 24, STACKED = 8;

  // level.items: {id, w, h, ins, outs}; ins and outs say where across an open module its ports are (Map: port to x).
  // level.links: {from, to, fromPort, toPort, weight}; "i:…" and "o:…" are the ports of the level itself.
  // level.beside: Map of an item to those that stand at its sides.
  function arrange(level) {
    const items = new Map(level.items.map((item) => [item.id, item]));
    const beside = level.beside;
    const aside = new Set([...beside.values()].flat());
    const units = new Map();
    for (const item of level.items) {
      if (aside.has(item.id)) continue;
      units.set(item.id, unitOf(item, (beside.get(item.id) || []).map((id) => items.get(id))));
    }
    for (const port of level.ports) units.set(port, { w: 10, h: 0, port: true });
    // What else reads an array at a side is reached from the unit that the array belongs to.
    const readerOf = new Map([...beside].flatMap(([reader, its]) => its.map((id) => [id, reader])));
    const toItsReader = (link) => readerOf.get(link.from) === link.to;
    const between = level.links.filter((link) => !toItsReader(link)).map((link) => (aside.has(link.from) ? { ...link, from: readerOf.get(link.from), of: link } : link));
    const ways = new Map();
    const spots = chain(units, between) || layered(units, between);
    straighten(units, items, between, spots);

    // The frame: all units and the ways between them, moved so that it starts at 0, 0.
    let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity;
    for (const [id, unit] of units) {
      const spot = spots.at.get(id);
      left = Math.min(left, spot.x - unit.w / 2); right = Math.max(right, spot.x + unit.w / 2);
      top = Math.min(top, spot.y - unit.h / 2); bottom = Math.max(bottom, spot.y + unit.h / 2);
    }
    for (const way of spots.ways.values()) {
      for (const [x] of way) {
        if (x !== null) { left = Math.min(left, x - 6); right = Math.max(right, x + 6); }
      }
    }
    if (!units.size) left = right = top = bottom = 0;
    const result = { w: right - left, h: bottom - top, at: new Map(), ways: [], ins: new Map(), outs: new Map() };
    for (const [id, unit] of units) {
      const x = spots.at.get(id).x - left, y = spots.at.get(id).y - top;
      if (unit.port) {
        (id[0] === "i" ? result.ins : result.outs).set(id.slice(2), x);
        result.at.set(id, { x, y, w: 0, h: 0 });
        continue;
      }
      const item = items.get(id);
      const place = { x: x - item.w / 2, y: y - item.h / 2, w: item.w, h: item.h };
      result.at.set(id, place);
      for (const [side, column] of [[-1, unit.left], [1, unit.right]]) {
        let down = y - heightOf(column) / 2;
        for (const one of column) {
          const start = side < 0 ? place.x - BESIDE - one.w : place.x + place.w + BESIDE;
          result.at.set(one.id, { x: start, y: down, w: one.w, h: one.h });
          down += one.h + STACKED;
        }
      }
    }
    for (const link of between) ways.set(link.of || link, spots.ways.get(link) || []);
    const ends = spread(level.links, aside, items, result.at, ways, left);
    level.links.forEach((link, number) => {
      if (toItsReader(link)) {
        const from = result.at.get(link.from), to = result.at.get(link.to);
        const y = from.y + from.h / 2, hit = Math.min(Math.max(y, to.y + to.h * 0.3), to.y + to.h * 0.7);
        const leftward = from.x > to.x;
        result.ways.push({ side: true, points: [[leftward ? from.x : from.x + from.w, y], [leftward ? to.x + to.w : to.x, hit]] });
        return;
      }
      const from = result.at.get(link.from), to = result.at.get(link.to);
      const start = [ends.get(`s${number}`), link.from[0] === "i" ? 0 : from.y + from.h];
      const end = [ends.get(`e${number}`), link.to[0] === "o" ? result.h : to.y];
      const way = ways.get(link).map(([x, y], at) => [x !== null ? x - left : at ? end[0] : start[0], y - top]);
      result.ways.push({ side: false, points: [start, ...way, end].filter(([, y], at, all) => !at || at === all.length - 1 || (y > start[1] && y < end[1])) });
    });
    return result;
  }

  // An item with what stands at its sides; as wide to the left as to the right, so that the data flow in a straight line.
  function unitOf(item, sides) {
    const left = sides.filter((_, at) => at % 2 === 0), right = sides.filter((_, at) => at % 2 === 1);
    const wide = Math.max(widthOf(left), widthOf(right));
    return { w: item.w + 2 * (wide && wide + BESIDE), h: Math.max(item.h, heightOf(left), heightOf(right)), left, right };
  }
  function widthOf(column) { return Math.max(0, ...column.map((one) => one.w)); }
  function heightOf(column) { return column.reduce((sum, one) => sum + one.h + STACKED, 0) - (column.length ? STACKED : 0); }

  // Units that follow one another need no search for a layout.
  function chain(units, links) {
    const after = new Map(), before = new Map();
    for (const { from, to } of links) {
      if ((after.has(from) && after.get(from) !== to) || (before.has(to) && before.get(to) !== from)) return null;
      after.set(from, to);
      before.set(to, from);
    }
    const firsts = [...units.keys()].filter((id) => !before.has(id));
    if (firsts.length !== 1) return null;
    const at = new Map();
    let id = firsts[0], y = 0;
    while (id !== undefined && !at.has(id)) {
      const unit = units.get(id);
      at.set(id, { x: 0, y: y + unit.h / 2 });
      y += unit.h + RANK;
      id = after.get(id);
    }
    return at.size === units.size ? { at, ways: new Map() } : null;
  }

  function layered(units, links) {
    const depth = depths(units, links);
    const deepest = Math.max(...[...depth].map(([id, deep]) => (id[0] === "o" ? 0 : deep)));
    const graph = new dagre.Graph({ multigraph: false });
    graph.setGraph({ ranksep: RANK, nodesep: ACROSS, edgesep: 14, ranker: units.size > 400 ? "longest-path" : "network-simplex" });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const [id, unit] of units) graph.setNode(id, { width: unit.w, height: unit.h });
    for (const { from, to, weight } of links) {
      const known = graph.edge(from, to);
      if (known) { known.weight += weight; continue; }
      let length = 1; // what comes from outside starts at the upper edge, what goes there ends at the lower one
      if (from[0] === "i") length = Math.max(1, to[0] === "o" ? deepest + 1 : depth.get(to));
      else if (to[0] === "o") length = Math.max(1, deepest + 1 - depth.get(from));
      graph.setEdge(from, to, { weight, minlen: length });
    }
    try {
      dagre.layout(graph);
    } catch (problem) {
      console.warn(`the layout failed (${problem.message}); a plain one stands in`);
      return plain(units, depth);
    }
    const at = new Map([...units.keys()].map((id) => [id, graph.node(id)])), ways = new Map();
    for (const link of links) {
      // Between two layers a link moves sideways; past the items of a layer it goes straight.
      const inner = graph.edge(link.from, link.to).points.slice(1, -1), points = [];
      if (inner.length) points.push([null, inner[0].y - RANK / 2]); // null: straight on from where it starts or ends
      for (let middle = 1; middle < inner.length - 1; middle += 2) {
        const x = inner[middle].x;
        points.push([x, inner[middle - 1].y + RANK / 2], [x, inner[middle + 1].y - RANK / 2]);
      }
      if (inner.length) points.push([null, inner[inner.length - 1].y + RANK / 2]);
      ways.set(link, points);
    }
    return { at, ways };
  }

  // The longest way from the start of the level to each unit; links that close a circle do not count.
  function depths(units, links) {
    const depth = new Map(), after = new Map(), waiting = new Map();
    for (const id of units.keys()) { depth.set(id, id[0] === "i" ? 0 : 1); after.set(id, []); waiting.set(id, 0); }
    for (const { from, to } of links) { after.get(from).push(to); waiting.set(to, waiting.get(to) + 1); }
    const ready = [...units.keys()].filter((id) => !waiting.get(id));
    for (let id = ready.pop(); id !== undefined; id = ready.pop()) {
      for (const next of after.get(id)) {
        depth.set(next, Math.max(depth.get(next), depth.get(id) + 1));
        waiting.set(next, waiting.get(next) - 1);
        if (!waiting.get(next)) ready.push(next);
      }
    }
    return depth;
  }

  // The main ways straight: each unit moves to where its heaviest links come from and lead to, as far as there is room.
  function straighten(units, items, links, spots) {
    const rows = new Map(), near = new Map([...units.keys()].map((id) => [id, []]));
    const offset = (id, port, table) => {
      const item = items.get(id);
      return item && port !== undefined && item[table] && item[table].has(port) ? item[table].get(port) - item.w / 2 : 0;
    };
    const row = (y) => { const key = Math.round(y); if (!rows.has(key)) rows.set(key, []); return rows.get(key); };
    for (const [id, unit] of units) row(spots.at.get(id).y).push({ id, half: unit.w / 2 });
    const passing = new Map();
    for (const link of links) {
      const start = offset(link.from, link.fromPort, "outs"), end = offset(link.to, link.toPort, "ins");
      const way = spots.ways.get(link) || [], straight = way.length <= 2;
      const weight = straight ? link.weight : 0.5;
      near.get(link.to).push({ down: true, weight, x: () => (straight ? spots.at.get(link.from).x + start : way[way.length - 2][0]) - end });
      near.get(link.from).push({ down: false, weight, x: () => (straight ? spots.at.get(link.to).x + end : way[1][0]) - start });
      for (let at = 1; at + 1 < way.length; at += 2) {
        const key = Math.round((way[at][1] + way[at + 1][1]) / 2);
        if (!passing.has(key)) passing.set(key, []);
        passing.get(key).push(way[at][0]);
      }
    }
    const keys = [...rows.keys()].sort((one, other) => one - other);
    for (let round = 0; round < 6; round++) {
      const down = round % 2 === 1;
      for (const key of down ? keys : [...keys].reverse()) {
        const members = rows.get(key).sort((one, other) => spots.at.get(one.id).x - spots.at.get(other.id).x);
        members.forEach(({ id, half }, at) => {
          const spot = spots.at.get(id), there = near.get(id).filter((wish) => wish.down === down);
          if (!there.length) return;
          const most = Math.max(...there.map((wish) => wish.weight)), wishes = there.filter((wish) => wish.weight === most);
          let x = wishes.reduce((sum, wish) => sum + wish.x(), 0) / wishes.length;
          const left = members[at - 1], right = members[at + 1];
          if (left) x = Math.max(x, spots.at.get(left.id).x + left.half + half + ACROSS);
          if (right) x = Math.min(x, spots.at.get(right.id).x - right.half - half - ACROSS);
          for (const other of passing.get(key) || []) {
            if (other < spot.x) x = Math.max(x, other + half + 12);
            else x = Math.min(x, other - half - 12);
          }
          if ((left && x < spots.at.get(left.id).x + left.half + half) || (right && x > spots.at.get(right.id).x - right.half - half)) return;
          spot.x = x;
        });
      }
    }
  }

  function plain(units, depth) {
    const rows = new Map(), at = new Map();
    for (const id of units.keys()) {
      if (!rows.has(depth.get(id))) rows.set(depth.get(id), []);
      rows.get(depth.get(id)).push(id);
    }
    let y = 0;
    for (const number of [...rows.keys()].sort((one, other) => one - other)) {
      const row = rows.get(number), high = Math.max(...row.map((id) => units.get(id).h));
      let x = -row.reduce((sum, id) => sum + units.get(id).w + ACROSS, -ACROSS) / 2;
      for (const id of row) {
        at.set(id, { x: x + units.get(id).w / 2, y: y + high / 2 });
        x += units.get(id).w + ACROSS;
      }
      y += high + RANK;
    }
    return { at, ways: new Map() };
  }

  // Where across an item each of its links starts and ends: at a port, or beside each other in the order of their ways.
  function spread(links, aside, items, at, ways, left) {
    const ends = new Map(), groups = new Map();
    links.forEach((link, number) => {
      if (aside.has(link.from)) {
        const place = at.get(link.from);
        ends.set(`s${number}`, place.x + place.w / 2);
      }
      const way = ways.get(link) || [];
      const middle = (id) => { const place = at.get(id); return place.x + place.w / 2; };
      for (const [end, id, port, table, other] of [
        ["s", link.from, link.fromPort, "outs", way.length > 2 ? way[1][0] - left : middle(link.to)],
        ["e", link.to, link.toPort, "ins", way.length > 2 ? way[way.length - 2][0] - left : middle(link.from)],
      ]) {
        if (ends.has(end + number)) continue;
        const item = items.get(id), place = at.get(id);
        if (!item) { ends.set(end + number, place.x); continue; }
        if (port !== undefined && item[table] && item[table].has(port)) { ends.set(end + number, place.x + item[table].get(port)); continue; }
        const key = end + id;
        if (!groups.has(key)) groups.set(key, { place, members: [] });
        groups.get(key).members.push([other, end + number]);
      }
    });
    for (const { place, members } of groups.values()) {
      members.sort((one, other) => one[0] - other[0]);
      const step = members.length > 1 ? Math.min(20, (place.w * 0.55) / (members.length - 1)) : 0;
      const middle = place.x + place.w / 2, from = members.map(([other]) => Math.abs(other - middle)), nearest = from.indexOf(Math.min(...from));
      const centre = members.length < 5 && from[nearest] < 14 ? nearest : (members.length - 1) / 2; // what comes straight stays straight
      members.forEach(([, key], number) => ends.set(key, middle + (number - centre) * step));
    }
    return ends;
  }

  return { arrange };
})();
