// Adds to the page what needs a pointer or a keyboard. Everything of importance is there without it.
(function () {
  'use strict';
  window.addEventListener('error', function (event) { document.body.dataset.failed = event.message; });

  var data = JSON.parse(document.getElementById('data').textContent);
  var chart = document.getElementById('chart');
  var overlay = chart.querySelector('.overlay');
  var cursor = document.getElementById('cursor');
  var readout = document.getElementById('readout');
  var bucket = 0;

  function time(ns) { return (ns / 1e9).toFixed(1) + ' s'; }
  function latency(ns) {
    if (ns === null || ns === undefined) { return 'none'; }
    if (ns < 1e6) { return (ns / 1e3).toFixed(0) + ' µs'; }
    return ns < 1e9 ? (ns / 1e6).toFixed(1) + ' ms' : (ns / 1e9).toFixed(2) + ' s';
  }
  function rate(count, length) {
    var perSecond = count * 1e9 / Math.max(length, 1e6);
    return perSecond.toLocaleString('en', { maximumFractionDigits: perSecond < 10 ? 1 : 0 }) + '/s';
  }

  // Shows one bucket of the series: a line over the pictures and its numbers below them.
  function show(index) {
    bucket = Math.max(0, Math.min(data.ok.length - 1, index));
    var from = bucket * data.width;
    var to = bucket === data.ok.length - 1 ? data.duration : from + data.width;
    var middle = (from + to) / 2;
    var faults = data.faults.filter(function (fault) { return fault.from < to && fault.to >= from; });
    cursor.hidden = false;
    cursor.style.left = (middle / data.duration * 100) + '%';
    readout.textContent = time(from) + ' to ' + time(to)
      + ': ok ' + rate(data.ok[bucket], to - from)
      + ', failed ' + rate(data.fail[bucket], to - from)
      + ', unknown ' + rate(data.info[bucket], to - from)
      + ', median ' + latency(data.p50[bucket]) + ', p99 ' + latency(data.p99[bucket])
      + (faults.length ? '. In force: ' + faults.map(function (fault) { return fault.what; }).join('; ') : '');
  }

  readout.textContent = 'Point at the pictures, or use the arrow keys, to read the numbers.';
  chart.addEventListener('pointermove', function (event) {
    var box = overlay.getBoundingClientRect();
    var share = (event.clientX - box.left) / box.width;
    if (share >= 0 && share <= 1) { show(Math.floor(share * data.duration / data.width)); }
  });
  chart.addEventListener('keydown', function (event) {
    var step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }[event.key];
    if (step && event.target === chart) { show(bucket + step); event.preventDefault(); }
  });

  var copy = document.getElementById('copy');
  if (navigator.clipboard && window.isSecureContext !== false) {
    copy.hidden = false;
    copy.addEventListener('click', function () {
      navigator.clipboard.writeText(document.getElementById('command').textContent).then(
        function () { copy.textContent = 'Copied'; },
        function () { copy.textContent = 'Select and copy by hand'; });
    });
  }

  window.addEventListener('beforeprint', function () {
    document.querySelectorAll('details').forEach(function (details) { details.open = true; });
  });

  document.body.dataset.ready = 'true';
}());
