// One slider for all runs: each shows its sheet that is nearest to the slider's kimg.
const slider = document.querySelector('.slider');
if (slider) {
  const input = slider.querySelector('input'), shown = slider.querySelector('output');
  const stops = input.dataset.stops.split(' ').map(Number);
  const films = [...document.querySelectorAll('.film')].map(film => ({
    caption: film.querySelector('.at'), frames: [...film.querySelectorAll('img')]}));
  const show = () => {
    const kimg = stops[input.value], far = frame => Math.abs(frame.dataset.kimg - kimg);
    shown.textContent = kimg + ' kimg';
    for (const {caption, frames} of films) {
      const nearest = frames.reduce((best, frame) => far(frame) < far(best) ? frame : best);
      for (const frame of frames) frame.hidden = frame !== nearest;
      caption.textContent = nearest.dataset.kimg + ' kimg';
    }
  };
  input.addEventListener('input', show);
  slider.hidden = stops.length < 2;
  show();
}
